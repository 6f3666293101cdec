/*
 * Writes the corpora that fuzzing starts from, small and sound inputs for every target: a folder
 * for each in the folder that is named. Inputs that once did harm are kept in regressions/.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* mkdir */
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "checkpoint_case.h"
#include "data/tar_write.h"
#include "fuzz.h"
#include "shard_case.h"
#include "support/make_jpeg.h"
#include "support/make_mat.h"
#include "support/make_png.h"
#include "train/checkpoint.h"

enum { PATH = 1024 };

static const char *root;

/* An input under construction. */
struct seed {
    uint8_t bytes[1 << 16];
    size_t size;
};

static void add(struct seed *seed, const void *bytes, size_t size)
{
    gr_fuzz_expect(size <= sizeof seed->bytes - seed->size, "a seed is small");
    if (size)
        memcpy(seed->bytes + seed->size, bytes, size);
    seed->size += size;
}

static void add_text(struct seed *seed, const char *text)
{
    add(seed, text, strlen(text));
}

/* A part of an input: its length, then itself (gr_fuzz_cut). */
static void add_part(struct seed *seed, const void *bytes, size_t size)
{
    const uint8_t length[2] = {(uint8_t)(size >> 8), (uint8_t)size};
    add(seed, length, 2);
    add(seed, bytes, size);
}

static void add_file(struct seed *seed, const char *path)
{
    uint8_t bytes[1 << 14];
    FILE *file = fopen(path, "rb");
    gr_fuzz_expect(file != NULL, "a file that was made can be read");
    add(seed, bytes, fread(bytes, 1, sizeof bytes, file));
    fclose(file);
}

/* Writes the input and empties it. */
static void save(struct seed *seed, const char *target, const char *name)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/%s", root, target);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", root, target, name);
    FILE *file = fopen(path, "wb");
    gr_fuzz_expect(file && fwrite(seed->bytes, 1, seed->size, file) == seed->size &&
                       fclose(file) == 0,
                   "a seed can be written");
    seed->size = 0;
}

static const char *temporary(void)
{
    static char path[PATH];
    snprintf(path, sizeof path, "%s/seed.tmp", root);
    return path;
}

/* ---- texts ------------------------------------------------------------------------------- */

/* Target, name, first byte (negative: none), text. */
static const struct text {
    const char *target, *name;
    int first;
    const char *text;
} texts[] = {
    {"set", "batch", -1, "train.batch=64\nvars.width=2"},
    {"set", "block", -1, "nodes.u1.conv.bias=false\nnodes.u2.b.conv.kernel=5\nnodes.0.channels=4"},
    {"set", "values", -1,
     "train.learning_rate={cosine: {base: ${GR_FUZZ:-0.1}, warmup_epochs: 0.5}}\n"
     "data.val={synthetic: {count: $(classes * 2)}}\nnodes.fc.out_features=$((width + 1) % 5)"},
    {"set", "new", -1, "train.optimizer.sgd.momentum=0.9\ndata.train.transform.0=crop"},
    {"set", "environment", -1, "name=a ${GR_FUZZ} $${x} $$(y)\ndescription=\"${GR_NONE}\""},
    {"kernels", "two", -1,
     "{\"format\": \"graph-runner kernels 1\", \"machine\": \"fuzz\", \"choices\": {\"conv\": "
     "{\"kernel\": \"winograd\", \"seconds\": 0.5}, \"fc\": {\"kernel\": \"gemm\"}}}"},
    {"profile", "bench", -1,
     "{\"model\": \"m\", \"mode\": \"train\", \"batch\": 8, \"threads\": 2, \"precision\": "
     "\"f32\", \"kernels\": \"auto\", \"nodes\": [{\"name\": \"conv1\", \"op\": \"conv\", "
     "\"seconds\": 1e-3, \"macs\": 10}]}"},
    {"profile", "trace", -1,
     "{\"traceEvents\": [], \"otherData\": {\"model\": \"m\", \"mode\": \"infer\", \"batch\": 1, "
     "\"threads\": 1, \"precision\": \"bf16\", \"nodes\": []}}"},
    {"lists", "list", 0,
     "\x00\x0f"
     "ash\nbirch\ncedar"},
    {"lists", "synsets", 1, ""},
    {"lists", "range", 2, "shard-{000..002}-{a,b}.tar"},
    {"lists", "folders", 3, "ash\nbirch\ncedar tree"},
};

static void save_texts(struct seed *seed)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i].first >= 0)
            add(seed, &(uint8_t){(uint8_t)texts[i].first}, 1);
        add_text(seed, texts[i].text);
        save(seed, texts[i].target, texts[i].name);
    }
}

static void save_lists(struct seed *seed)
{
    static const char names[] = "ash\nbirch\ncedar\n", list[] = "# images\na.jpg 0\n/b c.png\t2\n";
    static const char synsets[] = "1 n02 bird, fowl\n2 n01\n3 n03 cat\n", ids[] = "2\n1\n2\n";
    add(seed, "\0", 1);
    add_part(seed, names, strlen(names));
    add_text(seed, list);
    save(seed, "lists", "list");
    add(seed, "\1", 1);
    add_part(seed, synsets, strlen(synsets));
    add_text(seed, ids);
    save(seed, "lists", "synsets");
    for (int packed = 0; packed < 2; packed++) {
        static const struct gr_make_mat_synset kit[] = {{1, "n02", "bird, fowl", 0},
                                                        {2, "n01", "cat", 0}};
        size_t size;
        uint8_t *mat = gr_make_mat(kit, 2, packed, &size);
        add(seed, "\1", 1);
        add_part(seed, mat, size);
        add_text(seed, ids);
        save(seed, "lists", packed ? "meta_packed" : "meta");
        free(mat);
    }
}

/* Of a run: what happened, epochs, steps, confusion matrix. */
static const char run_events[] =
    "{\"event\": \"start\", \"command\": \"train <b>\", \"model\": \"m\", \"time\": 1700000000, "
    "\"step\": 0, \"batch\": 8, \"monitor\": \"top1\", \"higher_is_better\": 1, "
    "\"steps_per_epoch\": 2}\n"
    "{\"event\": \"end\", \"outcome\": \"done\", \"time\": 1700000100, \"step\": 4, \"message\": "
    "\"&\"}\n";
static const char run_epochs[] =
    "{\"stage\": \"train\", \"epoch\": 1, \"step\": 2, \"loss\": 1.5, \"top1\": 0.5, "
    "\"learning_rate\": 0.1, \"images_per_second\": 100, \"seconds\": 3}\n"
    "{\"stage\": \"val\", \"epoch\": 1, \"loss\": 1.2, \"top1\": 0.6}\n"
    "{\"stage\": \"train\", \"epoch\": 2, \"step\": 4, \"loss\": null, \"top1\": 0.5}\n";
static const char run_steps[] =
    "{\"step\": 1, \"loss\": 2, \"learning_rate\": 0.1, \"images\": 8, \"seconds\": 0.1}\n"
    "{\"step\": 2, \"loss\": 1.9, \"learning_rate\": 0.1, \"images\": 8, \"seconds\": 0.1}\n";
static const char run_confusion[] = ",ash,\"birch, \"\"white\"\"\"\nash,5,1\n\"birch\",0,7\n";

static void save_report(struct seed *seed, const char *name, const char *model)
{
    static const char *const parts[] = {run_events, run_epochs, run_steps, run_confusion};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        add_part(seed, parts[i], strlen(parts[i]));
    add_text(seed, model);
    save(seed, "report", name);
}

/* ---- images ------------------------------------------------------------------------------ */

static void save_image(struct seed *seed, const char *name, int first)
{
    add(seed, &(uint8_t){(uint8_t)first}, 1);
    add_file(seed, temporary());
    save(seed, "image", name);
}

static void save_jpegs(struct seed *seed, const uint8_t *pixels)
{
    static const uint8_t exif[] = "\xff\xe1\x00\x22"
                                  "Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0";
    static const int firsts[] = {0, 1, 2, 3, 4, 5, 6, 7, 14};
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        char name[32];
        const int channels = i == 8 ? 4 : i % 3 == 2 ? 1 : 3;
        gr_make_jpeg(temporary(), pixels, 20, 17, channels, 80, i % 2);
        snprintf(name, sizeof name, "jpeg%zu", i);
        save_image(seed, name, firsts[i]);
    }
    gr_make_jpeg(temporary(), pixels, 20, 17, 3, 80, false);
    struct seed plain = {0};
    add_file(&plain, temporary());
    add(seed, "\6\xff\xd8", 3);
    add(seed, exif, 36);
    add(seed, plain.bytes + 2, plain.size - 2);
    save(seed, "image", "jpeg_turned");
}

static void save_pngs(struct seed *seed, const uint8_t *pixels)
{
    static const uint8_t palette[] = {0, 0, 0, 255, 0, 0, 0, 255, 0, 9, 9, 9};
    static const uint8_t alpha[] = {0, 255, 9, 8};
    static const uint8_t exif[] = "II*\0\x08\0\0\0\1\0\x12\x01\3\0\1\0\0\0\6\0\0\0\0\0\0\0";
    const struct gr_make_png kinds[] = {
        {.height = 20, .width = 17, .colour = 2, .depth = 8},
        {.height = 20, .width = 17, .colour = 0, .depth = 1, .interlaced = true},
        {.height = 18, .width = 17, .colour = 4, .depth = 16},
        {.height = 18, .width = 17, .colour = 6, .depth = 8, .interlaced = true},
        {.height = 9,
         .width = 33,
         .colour = 3,
         .depth = 2,
         .palette = palette,
         .n_palette = 4,
         .alpha = alpha},
        {.height = 20, .width = 17, .colour = 2, .depth = 8, .exif = exif, .exif_size = 26},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char name[32];
        gr_make_png(temporary(), &kinds[i], pixels);
        snprintf(name, sizeof name, "png%zu", i);
        save_image(seed, name, (int)i * 2 + (int)(i & 1));
    }
}

/* ---- data sets --------------------------------------------------------------------------- */

static void save_idx(struct seed *seed, const uint8_t *pixels)
{
    struct seed images = {0}, labels = {0};
    uint8_t packed[2048];
    uLongf length = sizeof packed;
    add(&images, "\0\0\x08\3\0\0\0\2\0\0\0\x08\0\0\0\x08", 16);
    add(&images, pixels, 128);
    add(&labels, "\0\0\x08\1\0\0\0\2\0\3", 10);
    add(seed, "\0", 1);
    add_part(seed, images.bytes, images.size);
    add(seed, labels.bytes, labels.size);
    save(seed, "idx", "plain");
    z_stream stream = {.next_in = images.bytes,
                       .avail_in = (uInt)images.size,
                       .next_out = packed,
                       .avail_out = (uInt)length};
    gr_fuzz_expect(deflateInit2(&stream, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK &&
                       deflate(&stream, Z_FINISH) == Z_STREAM_END,
                   "images can be packed");
    length = stream.total_out;
    deflateEnd(&stream);
    add(seed, "\1", 1);
    add_part(seed, packed, length);
    add(seed, labels.bytes, labels.size);
    save(seed, "idx", "gzip");
    add(seed, "\1", 1);
    images.size = 0;
    add(&images, "\0\0\x08\4\0\0\0\2\0\0\0\x08\0\0\0\x08\0\0\0\3", 20);
    add(&images, pixels, 384);
    add_part(seed, images.bytes, images.size);
    add(seed, labels.bytes, labels.size);
    save(seed, "idx", "colour");
}

static void save_cifar(struct seed *seed, const uint8_t *pixels)
{
    for (int hundred = 0; hundred < 2; hundred++) {
        add(seed, &(uint8_t){(uint8_t)(hundred | 4)}, 1);
        for (int i = 0; i < 2; i++) {
            add(seed, "\1\2", hundred ? 2 : 1);
            add(seed, pixels, 3072);
        }
        save(seed, "cifar", hundred ? "hundred" : "ten");
    }
}

/* ---- archives ---------------------------------------------------------------------------- */

static void add_member(struct seed *tar, const char *name, const void *bytes, size_t size)
{
    static const uint8_t zeros[GR_TAR_BLOCK];
    uint8_t header[GR_TAR_BLOCK];
    gr_tar_header(name, size, header);
    add(tar, header, sizeof header);
    add(tar, bytes, size);
    add(tar, zeros, gr_tar_padding(size));
}

static void end_tar(struct seed *tar)
{
    static const uint8_t zeros[GR_TAR_END];
    add(tar, zeros, sizeof zeros);
}

static void save_imagenet(struct seed *seed)
{
    static const char synsets[] = "1 n02 bird\n2 n01 cat, kitty\n", ids[] = "2\n1\n";
    struct seed inner = {0}, outer = {0}, flat = {0};
    add_member(&inner, "n01_1.JPEG", "x", 1);
    end_tar(&inner);
    add_member(&outer, "n01.tar", inner.bytes, inner.size);
    add_member(&outer, "n02.tar", inner.bytes, inner.size);
    end_tar(&outer);
    add(seed, "\1", 1);
    add_part(seed, synsets, strlen(synsets));
    add_part(seed, NULL, 0);
    add(seed, outer.bytes, outer.size);
    save(seed, "imagenet", "train");
    add_member(&flat, "./val_1.JPEG", "x", 1);
    add_member(&flat, "../../val_2.JPEG", "yy", 2);
    end_tar(&flat);
    add(seed, "\7", 1);
    add_part(seed, synsets, strlen(synsets));
    add_part(seed, ids, strlen(ids));
    add(seed, flat.bytes, flat.size);
    save(seed, "imagenet", "val");
}

static void save_webdataset(struct seed *seed)
{
    static const char pax[] = "22 path=a/b/long.jpg\n18 size=000000001\n";
    uint8_t shard[GR_FUZZ_SHARD];
    struct seed tar = {0};
    add_member(&tar, "pax", pax, strlen(pax));
    tar.bytes[156] = 'x';
    add_member(&tar, "short.jpg", "x", 1);
    add_member(&tar, "a/b/long.json", "{\"label\": 2}", 12);
    end_tar(&tar);
    add(seed,
        "\1\0\x05"
        "a\nb\nc",
        8);
    add(seed, tar.bytes, tar.size);
    save(seed, "webdataset", "pax");
    const size_t length = gr_fuzz_shard(shard);
    add(seed, "\2\0\0", 3);
    add(seed, shard, length);
    save(seed, "webdataset", "shard");
}

static void save_pack(struct seed *seed)
{
    uint8_t shard[GR_FUZZ_SHARD];
    char text[2048];
    const size_t length = gr_fuzz_shard(shard);
    for (int first = 0; first < 3; first++) {
        snprintf(text, sizeof text,
                 "{\"format\":\"graph-runner pack 1\",\"samples\":2,\"shards\":1,\"classes\":2,"
                 "\"class_names\":[\"ash\",\"birch\"],\"channels\":3,\"height\":%d,\"width\":%d,"
                 "\"mixed\":true,\"skipped\":0,\"statistics\":{\"mean\":[1],\"variance\":[1]}}\n"
                 "{\"shard\":\"000000.tar\",\"bytes\":%zu,\"offsets\":[%zu,%zu],\"sizes\":[%zu,%zu]"
                 ",\"labels\":[0,1],\"to\":2,\"skipped\":[],\"sums\":[1,2,3,4,5,6,7,8,9,10]}\n",
                 first == 1 ? 8 : 0, first == 1 ? 8 : 0, length, gr_fuzz_shard_offset[0],
                 gr_fuzz_shard_offset[1], gr_fuzz_shard_size[0], gr_fuzz_shard_size[1]);
        add(seed, &(uint8_t){(uint8_t)first}, 1);
        add_text(seed, text);
        save(seed, "pack", first == 0 ? "whole" : first == 1 ? "square" : "cropped");
    }
}

/* ---- tensors ----------------------------------------------------------------------------- */

static void save_tensors(struct seed *seed)
{
    static const char header[] =
        "{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"I64\","
        "\"shape\":[],\"data_offsets\":[4,12]},\"c\":{\"dtype\":\"BOOL\",\"shape\":[1,1],"
        "\"data_offsets\":[12,13]},\"__metadata__\":{\"class_names\":\"[\\\"ash\\\",null]\","
        "\"statistics\":\"{\\\"mean\\\":[1],\\\"variance\\\":[2]}\"}}";
    float rows[6] = {1, 2, 3, 4, 5, 6};
    int32_t labels[2] = {0, -1};
    char files[] = "a.jpg\0b.jpg";
    struct gr_tensor features[] = {{"features", GR_F32, {2, {2, 3}}, rows},
                                   {"labels", GR_S32, {1, {2}}, labels},
                                   {"files", GR_U8, {1, {sizeof files}}, files}};
    static const char *const metadata[] = {"class_names", "[\"ash\"]", "layer", "fc"};
    struct gr_error err = {0};
    for (int stream = 0; stream < 2; stream++) {
        add(seed, &(uint8_t){(uint8_t)stream}, 1);
        for (int i = 0; i < 8; i++)
            add(seed, &(uint8_t){i ? 0 : (uint8_t)(sizeof header - 1)}, 1);
        seed->bytes[2] = (uint8_t)((sizeof header - 1) >> 8);
        add_text(seed, header);
        add(seed, "\0\x3c\0\x40\1\0\0\0\0\0\0\0\1", 13);
        save(seed, "safetensors", stream ? "types_stream" : "types");
    }
    gr_fuzz_expect(gr_tensor_file_write(temporary(), features, 3, metadata, 2, &err),
                   "tensors can be written");
    add(seed, "\0", 1);
    add_file(seed, temporary());
    save(seed, "safetensors", "features");
}

/* A checkpoint as it is, and in the first format, which had no checksum that hides what follows. */
static void write_checkpoint(struct gr_model *model, bool first_format)
{
    static const char *const metadata[] = {
        "format",   "graph-runner checkpoint 1",
        "seed",     "7",
        "epoch",    "1",
        "batch",    "2",
        "step",     "3",
        "best",     "0x1p-1",
        "means",    "4 0x1p+0 0x1p-2",
        "schedule", "best 3ff0000000000000 seen 1 bad 0 drops 0 finished 0"};
    const struct gr_plan_options options = {.mode = GR_TRAIN, .batch = 2, .update = true};
    const struct gr_standing standing = {
        .epoch = 1, .batch = 2, .step = 3, .has_best = true, .best = 0.5};
    struct gr_error err = {0};
    struct gr_snapshot snapshot = {0};
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    gr_fuzz_expect(plan && gr_checkpoint_take(&snapshot, plan, &standing, &err),
                   "a checkpoint can be taken");
    const bool done =
        first_format ? gr_tensor_file_write(temporary(), snapshot.tensors, snapshot.count, metadata,
                                            sizeof metadata / sizeof *metadata / 2, &err)
                     : gr_snapshot_write(&snapshot, temporary(), &err);
    gr_fuzz_expect(done, "a checkpoint can be written");
    gr_snapshot_release(&snapshot);
    gr_plan_free(plan);
}

static void save_checkpoints(struct seed *seed)
{
    const struct gr_context_options options = {.threads = 1, .kernels = GR_KERNELS_OPENBLAS};
    const struct gr_model_options seeded = {.seed = GR_FUZZ_SEED};
    struct gr_error err = {0};
    FILE *file = fopen(temporary(), "wb");
    gr_fuzz_expect(file && fputs(gr_fuzz_checkpoint_model, file) >= 0 && fclose(file) == 0,
                   "a model can be written");
    struct gr_context *context = gr_context_new(gr_standard_ops(), &options, &err);
    struct gr_model *model = context ? gr_model_load(context, temporary(), &seeded, &err) : NULL;
    gr_fuzz_expect(model != NULL, "the model can be read");
    for (int way = 0; way < 4; way++) {
        char name[32];
        write_checkpoint(model, way == 3);
        add(seed, &(uint8_t){(uint8_t)way}, 1);
        add_file(seed, temporary());
        snprintf(name, sizeof name, "way%d", way);
        save(seed, "checkpoint", name);
    }
    gr_model_free(model);
    gr_context_free(context);
}

int main(int argc, char **argv)
{
    static struct seed seed;
    static uint8_t pixels[1 << 13];
    if (argc != 2)
        return EXIT_FAILURE;
    root = argv[1];
    mkdir(root, 0777);
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 2654435761u >> 13);
    save_texts(&seed);
    save_lists(&seed);
    save_report(&seed, "run", "");
    save_report(&seed, "run_with_model", gr_fuzz_checkpoint_model);
    save_jpegs(&seed, pixels);
    save_pngs(&seed, pixels);
    save_idx(&seed, pixels);
    save_cifar(&seed, pixels);
    save_imagenet(&seed);
    save_webdataset(&seed);
    save_pack(&seed);
    save_tensors(&seed);
    save_checkpoints(&seed);
    return remove(temporary()) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
