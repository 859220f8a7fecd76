/* Before a program's reads, writes and flushes of files: each waits first, for as long as a file says.
 *
 * SLOW_DISK names the file: two integers, milliseconds before a read or write, and before a flush. A wait ends once
 * the file says less.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static volatile int *says;

__attribute__((constructor)) static void begin(void) {
    char *name = getenv("SLOW_DISK");
    int file = name ? open(name, O_RDONLY) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, 2 * sizeof(int), PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) says = mapped;
    close(file);
}

static void wait_for(int which) {
    struct timespec millisecond = {0, 1000000};
    for (int waited = 0; says && waited < says[which]; waited++) nanosleep(&millisecond, NULL);
}

#define SLOW(which, type, name, parameters, arguments)       \
    type name parameters {                                   \
        static type(*real) parameters;                       \
        if (!real) real = dlsym(RTLD_NEXT, #name);           \
        wait_for(which);                                     \
        return real arguments;                               \
    }

SLOW(0, ssize_t, pread, (int f, void *to, size_t n, off_t at), (f, to, n, at))
SLOW(0, ssize_t, pwrite, (int f, const void *of, size_t n, off_t at), (f, of, n, at))
SLOW(0, ssize_t, preadv, (int f, const struct iovec *to, int n, off_t at), (f, to, n, at))
SLOW(0, ssize_t, pwritev, (int f, const struct iovec *of, int n, off_t at), (f, of, n, at))
SLOW(0, int, posix_fallocate, (int f, off_t at, off_t n), (f, at, n))
SLOW(1, int, fsync, (int f), (f))
SLOW(1, int, fdatasync, (int f), (f))
