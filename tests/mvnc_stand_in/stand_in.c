/* A stand-in for NCSDK2's libmvnc.so with its bad habits, for tests; the sticks are files.
 *
 * NCS_STAND_IN names the root of a tree: sys/bus/usb/devices/1-PORT/{idVendor,idProduct,busnum,devnum} and
 * dev/bus/usb/BBB/DDD are the bus, as the kernel shows it; control/PORT/ holds what the test wants of a stick:
 *   hang        while it exists, nothing that talks to the stick ends
 *   ms          milliseconds an inference takes          temperature   degrees, throttling from 70 and 80
 *   noboot      the firmware is taken, the stick does not come back: ERROR, and the global lock stays locked
 *   blocks      an unplug leaves calls blocked for ever instead of ending them with ERROR
 *   allocate, queue, read    a status that this call returns
 *   dirty       written here: something was under way; who enumerates a running, dirty, ownerless stick first aborts
 *   stuck       ... or blocks for ever, if this exists
 * control/open_ms, control/close_ms: how long open, close and the reset of a stalled stick take.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, BUSY = -1, ERROR = -2, NOT_FOUND = -4, INVALID = -5, UNAUTHORIZED = -9, BAD_GRAPH = -10,
       UNSUPPORTED = -12, BAD_LENGTH = -14, BAD_HANDLE = -15 };
enum { MAX_LINKS = 16, DEPTH = 2, JOBS = 2 * DEPTH };

struct tensor { unsigned n, c, w, h, total, cs, ws, hs, type; };
struct job { double ready; float *result; };
struct graph;
struct device { char name[40], port[28]; ino_t plugged; int node, open; };
struct fifo { struct graph *graph; unsigned size; int reads; };
struct graph {
    struct device *device;
    unsigned c, h, w, classes;
    int features;           /* ends with relu(W x + b) instead of a softmax */
    float *weights, *bias;
    struct job jobs[JOBS];
    int count;              /* jobs queued and not read */
    double last, freed;     /* when the last job ends; when the last result was taken */
};

static pthread_mutex_t global = PTHREAD_MUTEX_INITIALIZER;
static int initialized, links;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void nap(double seconds) { if (seconds > 0) usleep((useconds_t)(seconds * 1e6)); }
static void forever(void) { for (;;) pause(); }

static char *path(const char *format, ...)
{
    static __thread char text[4][600];
    static __thread int turn;
    char *out = text[turn++ & 3];
    int head = snprintf(out, 600, "%s/", getenv("NCS_STAND_IN") ? getenv("NCS_STAND_IN") : "/nowhere");
    va_list list;
    va_start(list, format);
    vsnprintf(out + head, 600 - head, format, list);
    va_end(list);
    return out;
}

static int word(char *out, size_t size, const char *file)
{
    FILE *f = fopen(file, "r");
    out[0] = 0;
    if (!f) return 0;
    if (!fgets(out, (int)size, f)) out[0] = 0;
    fclose(f);
    out[strcspn(out, "\n")] = 0;
    return 1;
}

static double number(const char *file, double otherwise)
{
    char text[40];
    return word(text, sizeof text, file) && text[0] ? atof(text) : otherwise;
}

static void put(const char *file, const char *text)
{
    FILE *f = fopen(file, "w");
    if (f) { fputs(text, f); fclose(f); }
}

static int control(const char *port, const char *what) { return access(path("control/%s/%s", port, what), F_OK) == 0; }
static int verdict(const char *port, const char *call) { return (int)number(path("control/%s/%s", port, call), OK); }

static ino_t plugged(const char *port)
{
    struct stat s;
    return stat(path("sys/bus/usb/devices/1-%s/devnum", port), &s) ? 0 : s.st_ino;
}

static int open_node(const char *port)
{
    int bus = (int)number(path("sys/bus/usb/devices/1-%s/busnum", port), 0);
    int dev = (int)number(path("sys/bus/usb/devices/1-%s/devnum", port), 0);
    return open(path("dev/bus/usb/%03d/%03d", bus, dev), O_RDWR | O_CLOEXEC);
}

static int booted(const char *port)
{
    char product[8];
    return word(product, sizeof product, path("sys/bus/usb/devices/1-%s/idProduct", port)) && !strcmp(product, "f63b");
}

static void become(const char *port, const char *product)
{
    if (plugged(port)) put(path("sys/bus/usb/devices/1-%s/idProduct", port), product);
}

/* Waits while the stick hangs; the status tells whether it is still there. */
static int talk(struct device *d)
{
    for (;;) {
        if (plugged(d->port) != d->plugged) {
            if (control(d->port, "blocks")) forever();
            return ERROR;
        }
        if (!control(d->port, "hang")) return OK;
        nap(0.001);
    }
}

/* The first call of a process resets sticks that run for nobody; that goes wrong when something was under way. */
static void reset_stalled(void)
{
    for (int port = 1; port < 8; port++) {
        char name[4];
        snprintf(name, sizeof name, "%d", port);
        if (!booted(name)) continue;
        int node = open_node(name);
        if (node >= 0 && !flock(node, LOCK_EX | LOCK_NB)) {
            if (control(name, "hang") || control(name, "stuck")) forever();
            if (control(name, "dirty")) abort();
            nap(number(path("control/close_ms"), 0) / 1000);
            become(name, "2150");
        }
        if (node >= 0) close(node);
    }
    initialized = 1;
}

int ncDeviceCreate(int index, void **handle)
{
    if (index < 0) return INVALID;
    pthread_mutex_lock(&global);
    if (!initialized) reset_stalled();
    int status = NOT_FOUND;
    for (int port = 1; port < 8 && status; port++) {
        char name[4];
        snprintf(name, sizeof name, "%d", port);
        if (!plugged(name) || index--) continue;
        struct device *d = calloc(1, sizeof *d);
        strcpy(d->port, name);
        snprintf(d->name, sizeof d->name, "%s-%s", name, booted(name) ? "" : "ma2450");
        d->node = -1;
        *handle = d;
        status = OK;
    }
    pthread_mutex_unlock(&global);
    return status;
}

static int firmware(struct device *d)
{
    Dl_info info;
    char file[700];
    dladdr((void *)ncDeviceCreate, &info);
    snprintf(file, sizeof file, "%s", info.dli_fname);
    char *slash = strrchr(file, '/');
    snprintf(slash ? slash + 1 : file, 100, "mvnc/MvNCAPI-%s.mvcmd", strchr(d->name, '-') + 1);
    return access(file, R_OK) == 0;
}

int ncDeviceOpen(struct device *d)
{
    if (!d) return BAD_HANDLE;
    pthread_mutex_lock(&global);
    if (++links > MAX_LINKS) abort();
    d->plugged = plugged(d->port);
    if (!d->plugged || !firmware(d)) { pthread_mutex_unlock(&global); return ERROR; }
    d->node = open_node(d->port);
    if (d->node < 0 || flock(d->node, LOCK_EX | LOCK_NB)) {
        if (d->node >= 0) close(d->node);
        d->node = -1;
        pthread_mutex_unlock(&global);
        return ERROR;
    }
    nap(number(path("control/open_ms"), 0) / 1000);
    if (control(d->port, "noboot")) return ERROR;
    if (talk(d)) { pthread_mutex_unlock(&global); return ERROR; }
    become(d->port, "f63b");
    d->open = 1;
    pthread_mutex_unlock(&global);
    return OK;
}

int ncDeviceClose(struct device *d)
{
    if (!d || !d->open) return BAD_HANDLE;
    pthread_mutex_lock(&global);
    if (talk(d) == OK) {
        become(d->port, "2150");
        unlink(path("control/%s/dirty", d->port));
    }
    nap(number(path("control/close_ms"), 0) / 1000);
    close(d->node);
    d->open = 0;
    pthread_mutex_unlock(&global);
    return OK;
}

int ncDeviceDestroy(struct device **d)
{
    if (!d || !*d) return BAD_HANDLE;
    pthread_mutex_lock(&global);
    free(*d);
    *d = NULL;
    pthread_mutex_unlock(&global);
    return OK;
}

static int give(void *data, unsigned *size, const void *from, unsigned length)
{
    unsigned room = *size;
    *size = length;
    if (room < length) return BAD_LENGTH;
    memcpy(data, from, length);
    return OK;
}

int ncDeviceGetOption(struct device *d, int option, void *data, unsigned *size)
{
    if (!d) return BAD_HANDLE;
    if (option == 2013) return give(data, size, d->name, (unsigned)strlen(d->name) + 1);
    if (!d->open) return UNAUTHORIZED;
    if (talk(d)) return ERROR;
    float readings[25];
    for (int i = 0; i < 25; i++) readings[i] = (float)number(path("control/%s/temperature", d->port), 45);
    int level = (readings[0] >= 70) + (readings[0] >= 80);
    if (option == 2000) return give(data, size, readings, sizeof readings);
    if (option == 2001) return give(data, size, &level, sizeof level);
    return UNSUPPORTED;
}

int ncGraphCreate(const char *name, struct graph **handle)
{
    (void)name;
    *handle = calloc(1, sizeof **handle);
    return OK;
}

/* softmax(W x + b), W[classes][h * w * c]: the lab's simulated stick reads the same file. PICAMFEAT: relu(W x + b). */
static int parse(struct graph *g, const char *blob, unsigned length)
{
    const unsigned magic = 10, head = 26;
    if (length < head || (memcmp(blob, "PICAMSIM1\n", magic) && memcmp(blob, "PICAMFEAT\n", magic))) return BAD_GRAPH;
    g->features = blob[5] == 'F';
    unsigned shape[4];
    memcpy(shape, blob + magic, sizeof shape);
    g->c = shape[0]; g->h = shape[1]; g->w = shape[2]; g->classes = shape[3];
    size_t weights = 4ul * g->c * g->h * g->w * g->classes;
    if (length != head + weights + 4ul * g->classes) return BAD_GRAPH;
    g->weights = malloc(weights);
    g->bias = malloc(4ul * g->classes);
    memcpy(g->weights, blob + head, weights);
    memcpy(g->bias, blob + head + weights, 4ul * g->classes);
    return OK;
}

int ncGraphAllocateWithFifosEx(struct device *d, struct graph *g, const void *blob, unsigned length, struct fifo **in,
                               int in_type, int in_count, int in_data, struct fifo **out, int out_type, int out_count,
                               int out_data)
{
    if (!d || !d->open || !g) return BAD_HANDLE;
    if (in_type != 1 || out_type != 0 || in_count != DEPTH || out_count != DEPTH || in_data != 1 || out_data != 1)
        return INVALID;
    if (!length) return ERROR;
    if (talk(d)) return ERROR;
    int status = verdict(d->port, "allocate");
    if (status || (status = parse(g, blob, length))) return status;
    g->device = d;
    *in = calloc(1, sizeof **in);
    *out = calloc(1, sizeof **out);
    **in = (struct fifo){g, 4 * g->c * g->h * g->w, 0};
    **out = (struct fifo){g, 4 * g->classes, 1};
    return OK;
}

int ncGraphGetOption(struct graph *g, int option, void *data, unsigned *size)
{
    int one = 1;
    if (option == 1002 || option == 1003) return give(data, size, &one, sizeof one);
    struct tensor in = {1, g->c, g->w, g->h, 4 * g->c * g->h * g->w, 4, 4 * g->c, 4 * g->c * g->w, 1};
    struct tensor out = {1, g->classes, 1, 1, 4 * g->classes, 4, 4 * g->classes, 4 * g->classes, 1};
    if (option == 1004) return give(data, size, &in, sizeof in);
    if (option == 1005) return give(data, size, &out, sizeof out);
    if (option == 1006) return give(data, size, "told by the stick", 18);
    return UNSUPPORTED;
}

int ncFifoGetOption(struct fifo *f, int option, void *data, unsigned *size)
{
    int length = (int)f->size, type = 1;
    if (option == 10) return give(data, size, &length, sizeof length);
    if (option == 2) return give(data, size, &type, sizeof type);
    return UNSUPPORTED;
}

static float half(float value)
{
    union { float f; uint32_t u; } x = {value};
    x.u = (x.u + 0x1000) & ~0x1fffu;
    return x.f;
}

static float *infer(struct graph *g, const float *tensor)
{
    unsigned inputs = g->c * g->h * g->w;
    float *out = malloc(4ul * g->classes), top = -1e30f, sum = 0;
    for (unsigned k = 0; k < g->classes; k++) {
        const float *row = g->weights + (size_t)k * inputs;
        float score = g->bias[k];
        for (unsigned i = 0; i < inputs; i++) score += row[i] * tensor[i];
        if ((out[k] = score) > top) top = score;
    }
    if (g->features) {
        for (unsigned k = 0; k < g->classes; k++) out[k] = half(out[k] > 0 ? out[k] : 0);
        return out;
    }
    for (unsigned k = 0; k < g->classes; k++) sum += out[k] = expf(out[k] - top);
    for (unsigned k = 0; k < g->classes; k++) out[k] = half(out[k] / sum);
    return out;
}

static int unfinished(struct graph *g)
{
    int count = 0;
    for (int i = 0; i < g->count; i++) count += g->jobs[i].ready > now();
    return count;
}

int ncGraphQueueInferenceWithFifoElem(struct graph *g, struct fifo *in, struct fifo *out, const void *tensor,
                                      unsigned *length, void *user)
{
    (void)user;
    if (!g || !in || !out) return BAD_HANDLE;
    if (!in->reads && *length != in->size) { *length = in->size; return BAD_LENGTH; }
    int status = verdict(g->device->port, "queue");
    if (status) return status;
    do {
        if (talk(g->device)) return ERROR;
        if (g->count >= JOBS || unfinished(g) >= DEPTH) nap(0.0002);
    } while (g->count >= JOBS || unfinished(g) >= DEPTH);
    const char *port = g->device->port;
    if (!g->count) put(path("control/%s/dirty", port), "");
    double start = now();
    if (start < g->last) start = g->last;
    struct job *job = &g->jobs[g->count++];
    job->result = infer(g, tensor);
    job->ready = g->last = start + number(path("control/%s/ms", port), 8) / 1000;
    return OK;
}

int ncFifoReadElem(struct fifo *f, void *data, unsigned *length, void **user)
{
    (void)user;
    if (!f) return BAD_HANDLE;
    struct graph *g = f->graph;
    if (!f->reads) return UNAUTHORIZED;
    if (*length < f->size) { *length = f->size; return BAD_LENGTH; }
    int status = verdict(g->device->port, "read");
    if (status) return status;
    for (;;) {
        if (talk(g->device)) return ERROR;
        if (g->count && g->jobs[0].ready <= now()) break;
        nap(g->count ? 0.0001 : 0.001);
    }
    memcpy(data, g->jobs[0].result, f->size);
    free(g->jobs[0].result);
    memmove(g->jobs, g->jobs + 1, sizeof g->jobs - sizeof g->jobs[0]);
    if (!--g->count) unlink(path("control/%s/dirty", g->device->port));
    *length = f->size;
    return OK;
}

int ncFifoDestroy(struct fifo **f)
{
    if (!f || !*f) return BAD_HANDLE;
    free(*f);
    *f = NULL;
    return OK;
}

int ncGraphDestroy(struct graph **g)
{
    if (!g || !*g) return BAD_HANDLE;
    if ((*g)->device && talk((*g)->device)) return ERROR;
    free(*g);
    *g = NULL;
    return OK;
}
