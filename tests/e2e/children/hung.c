/* A file system that does not answer, and a process that hangs in it.
 *
 *   hung serve DIRECTORY   mounts it there, in a mount namespace of its own, and says "mounted". The file "file" can be
 *                          opened, but is never read; whoever looks for "hang" waits. All that ends with this process.
 *   hung read FILE         reads it, and waits.
 *   hung map FILE          maps it while somebody reads: waits, and holds the lock of its memory (mmap_lock) meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int device;

static void answer(uint64_t unique, int error, const void *body, size_t length) {
    struct fuse_out_header head = {sizeof head + length, error, unique};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)body, length}};
    if (writev(device, parts, length ? 2 : 1) < 0)
        perror("answer");
}

static struct fuse_attr attributes(uint64_t node) {
    struct fuse_attr attr = {.ino = node, .size = 8192, .nlink = 1, .blksize = 4096};
    attr.mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0755;
    return attr;
}

static void serve(const char *directory) {
    static char request[1 << 17];
    char options[64];
    int opened = 0;
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0
        || mount("hung", directory, "fuse", 0, options) < 0) {
        perror("mount");
        return;
    }
    puts("mounted");
    fflush(stdout);
    while (read(device, request, sizeof request) > 0) {
        struct fuse_in_header *in = (struct fuse_in_header *)request;
        const char *argument = request + sizeof *in;
        switch (in->opcode) {
        case FUSE_INIT: {
            struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = 65536,
                                        .max_background = 16, .congestion_threshold = 12, .max_write = 65536,
                                        .time_gran = 1, .max_pages = 1};
            answer(in->unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_LOOKUP: {
            struct fuse_entry_out out = {.nodeid = 2, .entry_valid = 1000, .attr_valid = 1000, .attr = attributes(2)};
            if (strcmp(argument, "hang") != 0)
                answer(in->unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_GETATTR: {
            struct fuse_attr_out out = {.attr_valid = 1000, .attr = attributes(in->nodeid)};
            answer(in->unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_OPEN: {
            /* Pages that the first one waits for have to go before the second one can be mapped. */
            struct fuse_open_out out = {.fh = ++opened};
            out.open_flags = opened == 1 ? 0 : FOPEN_DIRECT_IO | FOPEN_KEEP_CACHE;
            answer(in->unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_READ:
            puts("read");
            fflush(stdout);
            break;
        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
        case FUSE_INTERRUPT:
            break;
        case FUSE_RELEASE:
        case FUSE_FLUSH:
            answer(in->unique, 0, NULL, 0);
            break;
        default:
            answer(in->unique, -ENOSYS, NULL, 0);
        }
    }
}

int main(int argc, char **argv) {
    char byte;
    if (argc != 3)
        return 2;
    if (strcmp(argv[1], "serve") == 0) {
        serve(argv[2]);
        return 1;
    }
    int file = open(argv[2], O_RDONLY);
    if (strcmp(argv[1], "read") == 0)
        return read(file, &byte, 1) != 1;
    puts("maps");
    fflush(stdout);
    return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0) == MAP_FAILED;
}
