/*
 * The functions that fail on demand, in the place of the C library's; see faults.h. Streams are
 * made anew around their descriptors while reads or writes are to fail, since the C library's own
 * ones cannot be reached.
 */
#define _GNU_SOURCE
#include "faults_decide.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Not inlined: the return address is to be the caller's. */
#define OUTSIDE __attribute__((noinline))
#define CALLER __builtin_return_address(0)

/* ---- memory ------------------------------------------------------------------------------ */

#ifdef SANITIZED
extern void *__interceptor_malloc(size_t bytes);
extern void *__interceptor_calloc(size_t count, size_t bytes);
extern void *__interceptor_realloc(void *memory, size_t bytes);
extern int __interceptor_posix_memalign(void **memory, size_t align, size_t bytes);
extern void __interceptor_free(void *memory);
#define REAL(name) __interceptor_##name
#else
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);
extern void __libc_free(void *memory);
#define REAL(name) __libc_##name
#endif

static void *fail_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

static void *aligned(size_t align, size_t bytes)
{
#ifdef SANITIZED
    void *memory = NULL;
    return __interceptor_posix_memalign(&memory, align, bytes) == 0 ? memory : NULL;
#else
    return __libc_memalign(align, bytes);
#endif
}

OUTSIDE void *malloc(size_t bytes)
{
    if (gr_faults_decide(GR_FAULT_MEMORY, CALLER))
        return fail_memory();
    void *memory = REAL(malloc)(bytes);
    gr_faults_allocated(memory, CALLER);
    return memory;
}

OUTSIDE void *calloc(size_t count, size_t bytes)
{
    if (gr_faults_decide(GR_FAULT_MEMORY, CALLER))
        return fail_memory();
    void *memory = REAL(calloc)(count, bytes);
    gr_faults_allocated(memory, CALLER);
    return memory;
}

OUTSIDE void *realloc(void *memory, size_t bytes)
{
    if (gr_faults_decide(GR_FAULT_MEMORY, CALLER))
        return fail_memory();
    gr_faults_freed(memory); /* before another thread can be given it */
    void *grown = REAL(realloc)(memory, bytes);
    gr_faults_allocated(grown, CALLER);
    return grown;
}

OUTSIDE void *aligned_alloc(size_t align, size_t bytes)
{
    if (gr_faults_decide(GR_FAULT_MEMORY, CALLER))
        return fail_memory();
    void *memory = aligned(align, bytes);
    gr_faults_allocated(memory, CALLER);
    return memory;
}

OUTSIDE int posix_memalign(void **memory, size_t align, size_t bytes)
{
    if (gr_faults_decide(GR_FAULT_MEMORY, CALLER))
        return ENOMEM;
    *memory = aligned(align, bytes);
    gr_faults_allocated(*memory, CALLER);
    return *memory ? 0 : ENOMEM;
}

OUTSIDE void free(void *memory)
{
    gr_faults_freed(memory);
    REAL(free)(memory);
}

/* ---- reading and writing ----------------------------------------------------------------- */

enum { FEW = 7, STREAMS = 64 };

/* ISO C has no conversion from what dlsym gives to a function. */
#define NEXT(type, name)                                                                           \
    static type *next;                                                                             \
    if (!next) {                                                                                   \
        void *found = dlsym(RTLD_NEXT, name);                                                      \
        memcpy(&next, &found, sizeof next);                                                        \
    }

/* What a call does under SHORT: every third is interrupted, if it may be; bytes get few. */
static bool interrupted(size_t *bytes, bool may_be)
{
    static atomic_uint turn;
    if (!gr_faults_armed(GR_FAULT_SHORT))
        return false;
    *bytes = *bytes > FEW ? FEW : *bytes;
    if (!may_be || atomic_fetch_add(&turn, 1) % 3 != 1)
        return false;
    errno = EINTR;
    return true;
}

static bool fails(enum gr_fault kind, int number, const void *caller)
{
    if (!gr_faults_decide(kind, caller))
        return false;
    errno = number;
    return true;
}

/* zlib takes an interruption for an error, so what it reads is only short. */
static bool is_own(const void *caller)
{
    Dl_info own, its;
    return dladdr((void *)(uintptr_t)is_own, &own) && dladdr(caller, &its) &&
           own.dli_fbase == its.dli_fbase;
}

typedef ssize_t read_fn(int fd, void *data, size_t bytes);
typedef ssize_t pread_fn(int fd, void *data, size_t bytes, off_t offset);
typedef ssize_t write_fn(int fd, const void *data, size_t bytes);

static ssize_t real_read(int fd, void *data, size_t bytes)
{
    NEXT(read_fn, "read")
    return next(fd, data, bytes);
}

static ssize_t real_write(int fd, const void *data, size_t bytes)
{
    NEXT(write_fn, "write")
    return next(fd, data, bytes);
}

OUTSIDE ssize_t read(int fd, void *data, size_t bytes)
{
    if (fails(GR_FAULT_READ, EIO, CALLER) ||
        (gr_faults_armed(GR_FAULT_SHORT) && interrupted(&bytes, is_own(CALLER))))
        return -1;
    return real_read(fd, data, bytes);
}

OUTSIDE ssize_t pread(int fd, void *data, size_t bytes, off_t offset)
{
    NEXT(pread_fn, "pread")
    if (fails(GR_FAULT_READ, EIO, CALLER) || interrupted(&bytes, true))
        return -1;
    return next(fd, data, bytes, offset);
}

OUTSIDE ssize_t write(int fd, const void *data, size_t bytes)
{
    if (fails(GR_FAULT_WRITE, ENOSPC, CALLER) || interrupted(&bytes, true))
        return -1;
    return real_write(fd, data, bytes);
}

/* Nothing here is to outlive a power cut, and the disk takes its time. */
OUTSIDE int fsync(int fd)
{
    (void)fd;
    return fails(GR_FAULT_WRITE, EIO, CALLER) ? -1 : 0;
}

OUTSIDE int fdatasync(int fd)
{
    (void)fd;
    return fails(GR_FAULT_WRITE, EIO, CALLER) ? -1 : 0;
}

/* ---- streams ----------------------------------------------------------------------------- */

static struct stream {
    FILE *file;
    int fd;
    atomic_bool used;
} streams[STREAMS];

static ssize_t stream_read(void *cookie, char *data, size_t bytes)
{
    const struct stream *stream = cookie;
    if (fails(GR_FAULT_READ, EIO, (const void *)(uintptr_t)stream_read))
        return -1;
    interrupted(&bytes, false);
    return real_read(stream->fd, data, bytes);
}

static ssize_t stream_write(void *cookie, const char *data, size_t bytes)
{
    const struct stream *stream = cookie;
    if (fails(GR_FAULT_WRITE, ENOSPC, (const void *)(uintptr_t)stream_write))
        return 0; /* so an error is told here, and a short write would be one */
    const ssize_t done = real_write(stream->fd, data, bytes);
    return done < 0 ? 0 : done;
}

static int stream_seek(void *cookie, off64_t *offset, int whence)
{
    const struct stream *stream = cookie;
    *offset = lseek(stream->fd, *offset, whence);
    return *offset < 0 ? -1 : 0;
}

static int stream_close(void *cookie)
{
    struct stream *stream = cookie;
    const int result = close(stream->fd);
    atomic_store(&stream->used, false);
    return result;
}

typedef FILE *fdopen_fn(int fd, const char *mode);

static FILE *wrap(int fd, const char *mode)
{
    static const cookie_io_functions_t functions = {stream_read, stream_write, stream_seek,
                                                    stream_close};
    NEXT(fdopen_fn, "fdopen")
    if (!gr_faults_armed(GR_FAULT_READ) && !gr_faults_armed(GR_FAULT_WRITE) &&
        !gr_faults_armed(GR_FAULT_SHORT))
        return next(fd, mode);
    for (int i = 0; i < STREAMS; i++)
        if (!atomic_exchange(&streams[i].used, true)) {
            streams[i].fd = fd;
            return streams[i].file = fopencookie(&streams[i], mode, functions);
        }
    abort(); /* the test opens more than it should */
}

OUTSIDE int fileno(FILE *file)
{
    typedef int fileno_fn(FILE * file);
    NEXT(fileno_fn, "fileno")
    for (int i = 0; i < STREAMS; i++)
        if (atomic_load(&streams[i].used) && streams[i].file == file)
            return streams[i].fd;
    return next(file);
}

OUTSIDE FILE *fdopen(int fd, const char *mode)
{
    return fails(GR_FAULT_OPEN, EMFILE, CALLER) ? NULL : wrap(fd, mode);
}

static int flags_of(const char *mode)
{
    const bool both = strchr(mode, '+');
    const int more = strchr(mode, 'e') ? O_CLOEXEC : 0;
    if (*mode == 'r')
        return more | (both ? O_RDWR : O_RDONLY);
    return more | (both ? O_RDWR : O_WRONLY) | O_CREAT | (*mode == 'a' ? O_APPEND : O_TRUNC);
}

static FILE *open_stream(const char *path, const char *mode)
{
    typedef FILE *fopen_fn(const char *path, const char *mode);
    NEXT(fopen_fn, "fopen")
    if (!gr_faults_armed(GR_FAULT_READ) && !gr_faults_armed(GR_FAULT_WRITE) &&
        !gr_faults_armed(GR_FAULT_SHORT))
        return next(path, mode);
    const int fd = openat(AT_FDCWD, path, flags_of(mode), 0666);
    return fd < 0 ? NULL : wrap(fd, mode);
}

OUTSIDE FILE *fopen(const char *path, const char *mode)
{
    return fails(GR_FAULT_OPEN, EMFILE, CALLER) ? NULL : open_stream(path, mode);
}

OUTSIDE FILE *fopen64(const char *path, const char *mode)
{
    return fails(GR_FAULT_OPEN, EMFILE, CALLER) ? NULL : open_stream(path, mode);
}

/* ---- Jansson ----------------------------------------------------------------------------- */

/* Its parser ends the process when memory runs out within a text, so it runs out before one. */
OUTSIDE json_t *json_loadb(const char *text, size_t length, size_t flags, json_error_t *problem)
{
    typedef json_t *loadb_fn(const char *text, size_t length, size_t flags, json_error_t *problem);
    NEXT(loadb_fn, "json_loadb")
    if (fails(GR_FAULT_MEMORY, ENOMEM, CALLER))
        return NULL;
    gr_faults_pause(true);
    json_t *value = next(text, length, flags, problem);
    gr_faults_pause(false);
    return value;
}

/* ---- descriptors, memory maps, threads --------------------------------------------------- */

OUTSIDE int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fails(GR_FAULT_OPEN, EMFILE, CALLER) ? -1 : openat(AT_FDCWD, path, flags, mode);
}

OUTSIDE int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fails(GR_FAULT_OPEN, EMFILE, CALLER) ? -1 : openat(AT_FDCWD, path, flags, mode);
}

OUTSIDE DIR *opendir(const char *path)
{
    typedef DIR *opendir_fn(const char *path);
    NEXT(opendir_fn, "opendir")
    return fails(GR_FAULT_OPEN, EMFILE, CALLER) ? NULL : next(path);
}

OUTSIDE void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    typedef void *mmap_fn(void *address, size_t bytes, int protection, int flags, int fd,
                          off_t offset);
    NEXT(mmap_fn, "mmap")
    return fails(GR_FAULT_MAP, ENOMEM, CALLER)
               ? MAP_FAILED
               : next(address, bytes, protection, flags, fd, offset);
}

OUTSIDE int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                           void *(*start)(void *), void *user)
{
    typedef int create_fn(pthread_t * thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *user);
    NEXT(create_fn, "pthread_create")
    return gr_faults_decide(GR_FAULT_THREAD, CALLER) ? EAGAIN
                                                     : next(thread, attributes, start, user);
}

/* ---- oneDNN ------------------------------------------------------------------------------ */

OUTSIDE dnnl_status_t dnnl_engine_create(dnnl_engine_t *engine, dnnl_engine_kind_t kind,
                                         size_t index)
{
    typedef dnnl_status_t create_fn(dnnl_engine_t * engine, dnnl_engine_kind_t kind, size_t index);
    NEXT(create_fn, "dnnl_engine_create")
    return gr_faults_decide(GR_FAULT_ONEDNN, CALLER) ? dnnl_out_of_memory
                                                     : next(engine, kind, index);
}

OUTSIDE dnnl_status_t dnnl_stream_create(dnnl_stream_t *stream, dnnl_engine_t engine,
                                         unsigned flags)
{
    typedef dnnl_status_t create_fn(dnnl_stream_t * stream, dnnl_engine_t engine, unsigned flags);
    NEXT(create_fn, "dnnl_stream_create")
    return gr_faults_decide(GR_FAULT_ONEDNN, CALLER) ? dnnl_out_of_memory
                                                     : next(stream, engine, flags);
}

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t memory_desc;
#else
typedef const dnnl_memory_desc_t *memory_desc;
#endif

OUTSIDE dnnl_status_t dnnl_memory_create(dnnl_memory_t *memory, memory_desc desc,
                                         dnnl_engine_t engine, void *handle)
{
    typedef dnnl_status_t create_fn(dnnl_memory_t * memory, memory_desc desc, dnnl_engine_t engine,
                                    void *handle);
    NEXT(create_fn, "dnnl_memory_create")
    return gr_faults_decide(GR_FAULT_ONEDNN, CALLER) ? dnnl_out_of_memory
                                                     : next(memory, desc, engine, handle);
}

OUTSIDE dnnl_status_t dnnl_primitive_create(dnnl_primitive_t *primitive,
                                            const_dnnl_primitive_desc_t desc)
{
    typedef dnnl_status_t create_fn(dnnl_primitive_t * primitive, const_dnnl_primitive_desc_t desc);
    NEXT(create_fn, "dnnl_primitive_create")
    return gr_faults_decide(GR_FAULT_ONEDNN, CALLER) ? dnnl_out_of_memory : next(primitive, desc);
}

OUTSIDE dnnl_status_t dnnl_primitive_execute(const_dnnl_primitive_t primitive, dnnl_stream_t stream,
                                             int count, const dnnl_exec_arg_t *args)
{
    typedef dnnl_status_t execute_fn(const_dnnl_primitive_t primitive, dnnl_stream_t stream,
                                     int count, const dnnl_exec_arg_t *args);
    NEXT(execute_fn, "dnnl_primitive_execute")
    return gr_faults_decide(GR_FAULT_ONEDNN, CALLER) ? dnnl_out_of_memory
                                                     : next(primitive, stream, count, args);
}
