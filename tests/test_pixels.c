/*
 * The vectors that resize and write pixels, each set of them against the loops that define what
 * they do, to the bit. All memory ends at a page that must not be touched.
 */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/pixels.h"
#include "support/data_case.h"

enum { RGB = 3, TAPS_MOST = 9, WIDTH_MOST = 600 };

static const struct vectors {
    const char *name;
    gr_pixels_columns_fn *columns;
    gr_pixels_row_fn *row;
    gr_pixels_write_fn *write;
} sets[] = {
    {"avx2", gr_pixels_avx2_columns, gr_pixels_avx2_row, gr_pixels_avx2_write},
    {"avx512", gr_pixels_avx512_columns, gr_pixels_avx512_row, gr_pixels_avx512_write},
    {"the fastest", gr_pixels_columns, gr_pixels_row, gr_pixels_write},
};
enum { SETS = sizeof sets / sizeof *sets };

static bool can(int set)
{
#ifdef __x86_64__
    const bool avx512 = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512vbmi");
    return set == 1 ? avx512 : __builtin_cpu_supports("avx2");
#else
    (void)set;
    return false;
#endif
}

/* ---- memory between pages ---------------------------------------------------------------- */

struct fenced {
    uint8_t *map, *data;
    size_t size;
};

/* `bytes` bytes of noise, up to the end of the last page that may be touched. */
static struct fenced fence(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (bytes + page - 1) / page;
    struct fenced fenced = {.size = (pages + 2) * page};
    fenced.map =
        mmap(NULL, fenced.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(fenced.map != MAP_FAILED);
    assert_int_equal(mprotect(fenced.map, page, PROT_NONE), 0);
    assert_int_equal(mprotect(fenced.map + (pages + 1) * page, page, PROT_NONE), 0);
    fenced.data = fenced.map + (pages + 1) * page - bytes;
    gr_data_case_noise(fenced.data, bytes);
    return fenced;
}

static void unfence(const struct fenced *fenced)
{
    munmap(fenced->map, fenced->size);
}

/* ---- by definition ----------------------------------------------------------------------- */

static struct gr_taps taps[WIDTH_MOST];
static int16_t weights[WIDTH_MOST][TAPS_MOST + GR_TAPS_GROUP];

/* Taps of `out` positions over `in`, in order, up to `most` each, with weights of all sizes. */
static void make_taps(int64_t in, int64_t out, int32_t most)
{
    memset(weights, 0, sizeof weights);
    for (int64_t i = 0; i < out; i++) {
        const int64_t first = out > 1 ? i * (in - 1) / (out - 1) : in / 2;
        const int32_t count = in - first < most ? (int32_t)(in - first) : most;
        int32_t left = 1 << GR_WEIGHT_BITS;
        for (int32_t k = 0; k < count - 1; k++) {
            weights[i][k] = (int16_t)(left * ((i + k) % 4) / 4);
            left -= weights[i][k];
        }
        weights[i][count - 1] = (int16_t)left;
        taps[i] = (struct gr_taps){first, count, weights[i]};
    }
}

static uint8_t weighted(const uint8_t *src, size_t step, const struct gr_taps *of)
{
    int32_t sum = 1 << (GR_WEIGHT_BITS - 1);
    for (int32_t k = 0; k < of->count; k++)
        sum += of->weight[k] * src[(size_t)k * step];
    return (uint8_t)(sum >> GR_WEIGHT_BITS);
}

/* ---- tests ------------------------------------------------------------------------------- */

static int64_t check_columns(const struct vectors *set, int64_t in, int64_t width, int64_t height,
                             ptrdiff_t padding)
{
    const ptrdiff_t stride = RGB * in + padding;
    const struct fenced src = fence((size_t)(stride * (height - 1) + RGB * in));
    const struct fenced out = fence((size_t)(RGB * width * height));
    struct gr_view view = gr_view_interleaved(src.data, RGB, height, in);
    view.row_stride = stride;
    const uint8_t untouched = out.data[0];
    const int64_t done = set->columns(&view, taps, width, out.data);
    assert_true(done >= 0 && done <= height);
    for (int64_t h = 0; h < done; h++)
        for (int64_t i = 0; i < RGB * width; i++) {
            const struct gr_taps *of = &taps[i / RGB];
            const uint8_t *from = src.data + h * stride + RGB * of->first + i % RGB;
            assert_int_equal(out.data[h * RGB * width + i], weighted(from, RGB, of));
        }
    if (!done)
        assert_int_equal(out.data[0], untouched);
    unfence(&src);
    unfence(&out);
    return done;
}

static void columns_are_the_weighted_sums_of_their_pixels(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{341, 224}, {500, 224}, {60, 31}, {33, 32}, {17, 50},
                                       {30, 1},    {20, 4},    {21, 5},  {22, 6},  {50, 600}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int32_t most = 1; most <= TAPS_MOST; most++) {
            make_taps(sizes[i][0], sizes[i][1], most);
            for (int64_t height = 1; height <= 5; height++)
                for (int set = 0; set < SETS; set++) {
                    check_columns(&sets[set], sizes[i][0], sizes[i][1], height, 0);
                    check_columns(&sets[set], sizes[i][0], sizes[i][1], height, 7);
                }
        }
}

/* Else the tests above would agree with loops that do nothing. */
static void usual_images_are_resized_in_vectors(void **state)
{
    (void)state;
    make_taps(341, 224, 4);
    for (int set = 0; set < SETS; set++) {
        const int64_t done = check_columns(&sets[set], 341, 224, 8, 0);
        assert_true(can(set) ? done >= 6 : done == 0);
    }
}

static void rows_are_the_weighted_sums_of_their_bytes(void **state)
{
    (void)state;
    for (size_t bytes = 1; bytes <= 200; bytes++)
        for (int32_t count = 1; count <= TAPS_MOST; count++) {
            make_taps(count, 1, count);
            taps[0] = (struct gr_taps){0, count, weights[0]};
            for (int32_t k = 0; k < count; k++)
                weights[0][k] = (int16_t)((1 << GR_WEIGHT_BITS) / count);
            for (int set = 0; set < SETS; set++) {
                const struct fenced src = fence(bytes * (size_t)count), out = fence(bytes);
                const size_t done = sets[set].row(src.data, bytes, taps, out.data);
                assert_true(done <= bytes && (!can(set) || done + 32 > bytes));
                for (size_t i = 0; i < done; i++)
                    assert_int_equal(out.data[i], weighted(src.data + i, bytes, taps));
                unfence(&src);
                unfence(&out);
            }
        }
}

static void check_write(const struct vectors *set, int64_t width, bool mirrored, bool able)
{
    const float scale[RGB] = {1.0f / 58, -0.3f, 0x1p-8f}, offset[RGB] = {-2.1f, 1e-3f, 7};
    const struct fenced src = fence((size_t)(RGB * width));
    const struct fenced out = fence((size_t)(RGB * width) * sizeof(float));
    float *values = (float *)(void *)out.data;
    const ptrdiff_t step = mirrored ? -RGB : RGB;
    const uint8_t *row = src.data + (mirrored ? RGB * (width - 1) : 0);
    const int64_t done = set->write(row, step, width, scale, offset, values, width);
    assert_true(done <= width && (!able || done + 8 > width));
    for (int64_t w = 0; w < done; w++)
        for (int c = 0; c < RGB; c++) {
            const volatile float scaled = scale[c] * (float)row[w * step + c];
            const float want = scaled + offset[c];
            assert_memory_equal(&values[c * width + w], &want, sizeof want);
        }
    unfence(&src);
    unfence(&out);
}

static void pixels_are_written_scaled_and_moved(void **state)
{
    (void)state;
    for (int64_t width = 1; width <= 100; width++)
        for (int set = 0; set < SETS; set++)
            for (int mirrored = 0; mirrored < 2; mirrored++)
                check_write(&sets[set], width, mirrored, can(set));
}

/* Planar images take the plain loops. */
static void planes_are_resized_to_the_same_bytes_as_pixels(void **state)
{
    (void)state;
    enum { H = 61, W = 83 };
    static uint8_t pixels[H * W * RGB], planes[RGB * H * W];
    static const int64_t sizes[][2] = {{40, 57}, {61, 20}, {100, 83}, {7, 9}};
    gr_data_case_noise(pixels, sizeof pixels);
    for (int i = 0; i < H * W * RGB; i++)
        planes[i % RGB * H * W + i / RGB] = pixels[i];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct gr_resize_scratch scratch = {0};
        struct gr_buffer buffers[2] = {{0}, {0}};
        struct gr_view views[2] = {gr_view_interleaved(pixels, RGB, H, W),
                                   gr_view_planar(planes, RGB, H, W)};
        struct gr_placement place = gr_placement_whole(H, W);
        place.height = place.window.height = sizes[i][0];
        place.width = place.window.width = sizes[i][1];
        for (int v = 0; v < 2; v++)
            assert_true(gr_image_place(&views[v], &place, &scratch, &buffers[v], NULL));
        assert_memory_equal(views[0].pixels, views[1].pixels,
                            (size_t)(RGB * place.height * place.width));
        for (int v = 0; v < 2; v++)
            gr_buffer_release(&buffers[v]);
        gr_buffer_release(&scratch.rows);
        gr_buffer_release(&scratch.columns);
        gr_buffer_release(&scratch.lines);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_the_weighted_sums_of_their_pixels),
        cmocka_unit_test(usual_images_are_resized_in_vectors),
        cmocka_unit_test(rows_are_the_weighted_sums_of_their_bytes),
        cmocka_unit_test(pixels_are_written_scaled_and_moved),
        cmocka_unit_test(planes_are_resized_to_the_same_bytes_as_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
