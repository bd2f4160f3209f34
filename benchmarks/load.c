/* The load of the benchmarks: what sends to a server, or talks with it, on another core and outside Python.
 *
 *   load send       PORT PID CPU TLS KIND SIZE BYTES DRIPPING   send a stream, wait until the server closes
 *   load echo       PORT PID CPU TLS CONNECTIONS SECONDS        64 bytes at a time, each answered before the next
 *   load handshakes PORT PID CPU 1 SECONDS                      connect, echo once, close, and again
 *   load hold       PORT PID CPU TLS CONNECTIONS                open connections that say nothing
 *
 * PORT is one of 127.0.0.1, PID the server's process, CPU the core to run on (-1: any), TLS 0 or 1.
 * KIND is "lines", "prefix" (a 4-byte length) or "msgpack", SIZE that of a payload, DRIPPING how many further
 * connections send one byte a second each and never end a frame.
 *
 * SECONDS and BYTES are divided into slices. Prints "COUNT NANOSECONDS ELAPSED" of the cheapest: frames or answers, the
 * CPU time (user and system) that the *server's process* used for them, and the time that passed. "hold" prints COUNT,
 * the growth of the server's resident memory in bytes, and 0. The CPU time is read from the process's own clock, so the
 * server needs no instruments. Linux only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/ssl.h>
static SSL_CTX *context;
#endif

enum { MESSAGE = 64, BLOCK = 1 << 18, SLICES = 4 };

typedef struct {
    int fd;
#ifdef WITH_TLS
    SSL *tls;
#endif
} Connection;

static int port, use_tls;
static pid_t server;

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time)) fail("clock");
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* The system brings the clock of a running process up to date with each tick only, which are milliseconds; that of one
 * which sleeps is exact. A server that has nothing to do sleeps. */
static void wait_until_it_sleeps(void) {
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)server);
    for (int64_t until = now(CLOCK_MONOTONIC) + 1000000000; state != 'S' && now(CLOCK_MONOTONIC) < until;) {
        FILE *file = fopen(path, "r");
        if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1) fail(path);
        fclose(file);
    }
}

static int64_t server_time(void) {
    clockid_t clock;
    wait_until_it_sleeps();
    if (clock_getcpuclockid(server, &clock)) fail("the server's clock");
    return now(clock);
}

static long server_memory(void) {
    char path[64];
    long pages;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)server);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1) fail(path);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Connections */

static Connection open_connection(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Connection made = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    int on = 1;
    if (made.fd < 0 || connect(made.fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    setsockopt(made.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
#ifdef WITH_TLS
    if (use_tls) {
        made.tls = SSL_new(context);
        SSL_set_fd(made.tls, made.fd);
        if (SSL_connect(made.tls) != 1) fail("handshake");
    }
#endif
    return made;
}

static void send_all(Connection *to, const char *data, size_t size) {
    while (size) {
        ssize_t sent;
#ifdef WITH_TLS
        if (use_tls) sent = SSL_write(to->tls, data, (int)size);
        else
#endif
            sent = send(to->fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0) fail("send");
        data += sent;
        size -= sent;
    }
}

static ssize_t receive(Connection *from, char *data, size_t size) {
#ifdef WITH_TLS
    if (use_tls) return SSL_read(from->tls, data, (int)size);
#endif
    return recv(from->fd, data, size, 0);
}

static void receive_answer(Connection *from) {
    char data[MESSAGE];
    for (size_t there = 0; there < MESSAGE;) {
        ssize_t size = receive(from, data + there, MESSAGE - there);
        if (size <= 0) fail("no answer");
        there += size;
    }
}

static void end_sending(Connection *ended) {
#ifdef WITH_TLS
    if (use_tls) {
        SSL_shutdown(ended->tls);
        return;
    }
#endif
    shutdown(ended->fd, SHUT_WR);
}

static void close_connection(Connection *closed) {
#ifdef WITH_TLS
    if (use_tls) SSL_free(closed->tls);
#endif
    close(closed->fd);
}

/* A stream of frames */

typedef struct {
    char *data;
    size_t size, frame, block;
} Stream;

static Stream make_stream(const char *kind, uint32_t size) {
    /* What msgpack makes of {"id": 7, "op": "get", "key": "some key", "flags": [1, 2]} */
    static const char map[] = "\x84\xa2id\x07\xa2op\xa3get\xa3key\xa8some key\xa5" "flags\x92\x01\x02";
    char *frame = malloc(size + sizeof map);
    Stream made = {.frame = size};
    if (!strcmp(kind, "lines")) {
        memset(frame, 'x', size);
        frame[size - 1] = '\n';
    } else if (!strcmp(kind, "prefix")) {
        uint32_t prefix = htonl(size);
        memcpy(frame, &prefix, 4);
        memset(frame + 4, 'x', size);
        made.frame += 4;
    } else {
        made.frame = sizeof map - 1;
        memcpy(frame, map, made.frame);
    }
    size_t times = (BLOCK + made.frame - 1) / made.frame;
    made.size = times * made.frame;
    size_t blocks = (made.size + BLOCK / 2) / BLOCK;
    made.block = (made.size + blocks - 1) / blocks; /* no small rest */
    made.data = malloc(made.size);
    for (size_t i = 0; i < times; i++) memcpy(made.data + i * made.frame, frame, made.frame);
    free(frame);
    return made;
}

static long send_stream(Stream *stream, long frames) {
    Connection to = open_connection();
    char rest[256];
    size_t at = 0, left = frames * stream->frame;
    while (left) {
        size_t size = stream->block;
        if (size > left) size = left;
        if (size > stream->size - at) size = stream->size - at;
        send_all(&to, stream->data + at, size);
        left -= size;
        at = (at + size) % stream->size;
    }
    end_sending(&to);
    while (receive(&to, rest, sizeof rest) > 0) { /* until the server has seen the end */
    }
    close_connection(&to);
    return frames;
}

static void drip(int count) {
    int ready[2];
    char byte = 0;
    if (pipe(ready)) fail("pipe");
    if (fork()) {
        if (read(ready[0], &byte, 1) != 1) fail("slow senders");
        sleep(2); /* the server has accepted them, and heard of each */
        return;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    Connection *slow = malloc(count * sizeof *slow);
    for (int i = 0; i < count; i++) slow[i] = open_connection();
    if (write(ready[1], &byte, 1) != 1) fail("pipe");
    for (int64_t began = now(CLOCK_MONOTONIC);; began += 1000000000)
        for (int i = 0; i < count; i++) {
            send_all(&slow[i], "y", 1);
            int64_t early = began + 1000000000LL / count * i - now(CLOCK_MONOTONIC);
            if (early > 1000000) usleep(early / 1000);
        }
}

/* Questions and answers */

static long converse(Connection *with, int count, long messages, int64_t until) {
    char message[MESSAGE];
    memset(message, 'x', MESSAGE - 1);
    message[MESSAGE - 1] = '\n';
    int poll = epoll_create1(0);
    long answers = 0;
    struct epoll_event ready[64];
    for (int i = 0; i < count; i++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = &with[i]};
        epoll_ctl(poll, EPOLL_CTL_ADD, with[i].fd, &wanted);
        send_all(&with[i], message, MESSAGE);
    }
    for (int open = count; open;) {
        int n = epoll_wait(poll, ready, 64, 30000);
        if (n <= 0) fail("no answer for half a minute");
        int64_t time = until ? now(CLOCK_MONOTONIC) : 0;
        for (int i = 0; i < n; i++) {
            Connection *one = ready[i].data.ptr;
            receive_answer(one);
            answers++;
            if (until ? time < until : answers + open <= messages) send_all(one, message, MESSAGE);
            else open--;
        }
    }
    close(poll);
    return answers;
}

static void ask_once(void) {
    Connection one = open_connection();
    converse(&one, 1, 1, 0);
    end_sending(&one);
    close_connection(&one);
}

static void settle(void) {
    ask_once(); /* the server has accepted all that came before */
    usleep(300000);
}

static void hold(int count) {
    for (int i = 0; i < 100; i++) open_connection();
    settle();
    long before = server_memory();
    for (int i = 0; i < count; i++) open_connection();
    settle();
    printf("%d %ld 0\n", count, server_memory() - before);
}

static void set_up(int cpu) {
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        if (sched_setaffinity(0, sizeof set, &set)) fail("sched_setaffinity");
    }
#ifdef WITH_TLS
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL); /* the server is our own, and its certificate not the subject */
#else
    if (use_tls) {
        fputs("load: built without TLS\n", stderr);
        exit(1);
    }
#endif
}

/* The modes: what warms the server up, and what is done in each slice */

static char **extra; /* the arguments of the mode */
static Stream stream;
static Connection *with;
static int connections;

static void prepare_send(void) {
    stream = make_stream(extra[0], atoi(extra[1]));
    send_stream(&stream, atol(extra[2]) / stream.frame / SLICES);
    if (atoi(extra[3])) drip(atoi(extra[3]));
}

static long do_send(void) {
    return send_stream(&stream, atol(extra[2]) / stream.frame / SLICES);
}

static void prepare_echo(void) {
    connections = atoi(extra[0]);
    with = malloc(connections * sizeof *with);
    for (int i = 0; i < connections; i++) with[i] = open_connection();
    converse(with, connections, 1000 + 8 * connections, 0);
}

static long do_echo(void) {
    return converse(with, connections, 0, now(CLOCK_MONOTONIC) + (int64_t)(atof(extra[1]) * 1e9 / SLICES));
}

static void prepare_handshakes(void) {
    for (int i = 0; i < 10; i++) ask_once();
}

static long do_handshakes(void) {
    int64_t until = now(CLOCK_MONOTONIC) + (int64_t)(atof(extra[0]) * 1e9 / SLICES);
    long done = 0;
    for (; now(CLOCK_MONOTONIC) < until; done++) ask_once();
    return done;
}

static void measure(void (*prepare)(void), long (*slice)(void)) {
    long count = 0;
    int64_t used = 0, elapsed = 0;
    prepare();
    for (int i = 0; i < SLICES; i++) {
        int64_t before = server_time(), began = now(CLOCK_MONOTONIC);
        long done = slice();
        int64_t cost = server_time() - before;
        if (!i || (double)cost / done < (double)used / count) {
            count = done;
            used = cost;
            elapsed = now(CLOCK_MONOTONIC) - began;
        }
    }
    printf("%ld %lld %lld\n", count, (long long)used, (long long)elapsed);
}

int main(int count, char **arguments) {
    if (count < 7) {
        fputs("load: see the comment at the top of load.c\n", stderr);
        return 2;
    }
    const char *mode = arguments[1];
    port = atoi(arguments[2]);
    server = atoi(arguments[3]);
    use_tls = atoi(arguments[5]);
    extra = arguments + 6;
    set_up(atoi(arguments[4]));
    if (!strcmp(mode, "send") && count == 10) measure(prepare_send, do_send);
    else if (!strcmp(mode, "echo") && count == 8) measure(prepare_echo, do_echo);
    else if (!strcmp(mode, "handshakes")) measure(prepare_handshakes, do_handshakes);
    else if (!strcmp(mode, "hold")) hold(atoi(extra[0]));
    else {
        fprintf(stderr, "load: %s is no mode, or has other arguments\n", mode);
        return 2;
    }
    return 0;
}
