/* An open-loop HTTP/1.1 load: requests fall due at a rate, whatever comes back.

   open_loop PORT RATE_PER_S SECONDS WARM_UP_S CONNECTIONS DEADLINE_MS keep|new

   Each request has a time at which it is due; what is good is a 200 that is whole
   within the deadline from then on, so that a load that is held up anywhere cannot
   look better for it. A request takes an idle connection, or opens one while there
   are fewer than CONNECTIONS; with none left it has failed ("unsent"). A request that
   is late has failed, too, and its connection is closed, as HTTP/1.1 clients must.
   With "new" every request has a connection of its own.

   What is counted began after the warm-up. Prints one line of JSON. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 20000, BUFFER_BYTES = 4096, EVENTS = 512, OK = 200, SHED = 503 };

static const int64_t STALL_NS = 20000000;  /* Later than this was not the proxy's doing. */

typedef struct {
  int fd;                /* -1: closed. */
  uint32_t number;       /* Of its request: an old deadline is not for a new one. */
  int64_t due_ns;        /* When its request was due; 0: idle. */
  int64_t left_bytes;    /* Of the body; -1: the head is not whole yet. */
  int status;
  int is_connecting;
  int is_closing;        /* The server said so. */
  int filled;
  char buffer[BUFFER_BYTES];
} Connection;

typedef struct { int index; uint32_t number; int64_t late_ns; } Deadline;

static Connection all[MAX_CONNECTIONS];
static int idle[MAX_CONNECTIONS], idle_count, closed[MAX_CONNECTIONS], closed_count;
static Deadline *deadlines;
static size_t first_deadline, deadline_count, deadline_room;
static uint32_t *latencies_us;
static int64_t offered, good, shed, late, broken, unsent, other;
static int64_t count_from_ns, stalled_ns;
static int poll_fd, is_new;
static struct sockaddr_in server;
static const char *request;
static size_t request_bytes;

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int is_counted(const Connection *c) { return c->due_ns >= count_from_ns; }

static void drop(int index, int is_reset) {
  Connection *c = &all[index];
  if (is_reset) {  /* Leaves no TIME_WAIT behind: ports are few. */
    struct linger now = {1, 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  close(c->fd);
  c->fd = -1;
  c->due_ns = 0;
  closed[closed_count++] = index;
}

static void failed(int index, int64_t *kind) {
  if (all[index].due_ns && is_counted(&all[index])) ++*kind;
  drop(index, 1);
}

static void send_request(int index) {
  Connection *c = &all[index];
  c->filled = 0;
  c->left_bytes = -1;
  if (send(c->fd, request, request_bytes, MSG_NOSIGNAL) != (ssize_t)request_bytes)
    failed(index, &broken);
}

static int open_one(void) {
  if (!closed_count) return -1;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  if (fd < 0) return -1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) {
    close(fd);
    return -1;
  }
  int index = closed[--closed_count];
  Connection *c = &all[index];
  uint32_t number = c->number;
  memset(c, 0, offsetof(Connection, buffer));
  c->fd = fd;
  c->number = number;
  c->is_connecting = 1;
  struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLET, {.u32 = (uint32_t)index}};
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
  return index;
}

static void begin(int64_t due_ns, int64_t deadline_ns) {
  int is_reused = idle_count > 0;
  int index = is_reused ? idle[--idle_count] : open_one();
  if (due_ns >= count_from_ns) ++offered;
  if (index < 0) {
    if (due_ns >= count_from_ns) ++unsent;
    return;
  }
  Connection *c = &all[index];
  c->due_ns = due_ns;
  ++c->number;
  deadlines[(first_deadline + deadline_count++) % deadline_room] =
      (Deadline){index, c->number, due_ns + deadline_ns};
  if (is_reused) send_request(index);
}

static void expire(int64_t now) {
  while (deadline_count && deadlines[first_deadline].late_ns <= now) {
    Deadline d = deadlines[first_deadline];
    first_deadline = (first_deadline + 1) % deadline_room;
    --deadline_count;
    Connection *c = &all[d.index];
    if (c->fd >= 0 && c->due_ns && c->number == d.number) failed(d.index, &late);
  }
}

static void finished(int index, int64_t now, int64_t deadline_ns) {
  Connection *c = &all[index];
  if (is_counted(c)) {
    int64_t taken_ns = now - c->due_ns;
    if (c->status == SHED) ++shed;
    else if (c->status != OK) ++other;
    else if (taken_ns > deadline_ns) ++late;
    else latencies_us[good++] = (uint32_t)(taken_ns / 1000);
  }
  c->due_ns = 0;
  if (is_new || c->is_closing) drop(index, 1);
  else idle[idle_count++] = index;
}

static void read_head(Connection *c) {
  char *end = memmem(c->buffer, (size_t)c->filled, "\r\n\r\n", 4);
  if (!end) return;
  *end = 0;
  char *length = strcasestr(c->buffer, "\r\ncontent-length:");
  c->status = atoi(c->buffer + 9);
  c->is_closing = strcasestr(c->buffer, "\r\nconnection: close") != NULL;
  c->left_bytes = (length ? atoll(length + 17) : 0) - (c->filled - (end + 4 - c->buffer));
}

static void receive(int index, int64_t deadline_ns) {
  Connection *c = &all[index];
  for (;;) {
    int is_head = c->left_bytes < 0;
    char *to = is_head ? c->buffer + c->filled : c->buffer;
    size_t room = is_head ? (size_t)(BUFFER_BYTES - 1 - c->filled) : BUFFER_BYTES;
    ssize_t count = recv(c->fd, to, room, 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
      if (!c->due_ns) {  /* Idle: take it off the stack. */
        for (int i = 0; i < idle_count; ++i)
          if (idle[i] == index) { idle[i] = idle[--idle_count]; break; }
      }
      failed(index, &broken);
      return;
    }
    if (!c->due_ns) continue;
    if (is_head) {
      c->filled += (int)count;
      read_head(c);
    } else {
      c->left_bytes -= count;
    }
    if (c->left_bytes == 0) {
      finished(index, now_ns(), deadline_ns);
      return;
    }
  }
}

static void on_event(struct epoll_event *event, int64_t deadline_ns) {
  int index = (int)event->data.u32;
  Connection *c = &all[index];
  if (c->fd < 0) return;
  if (c->is_connecting && (event->events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
      failed(index, &broken);
      return;
    }
    c->is_connecting = 0;
    send_request(index);
    if (c->fd < 0) return;
  }
  if (event->events & (EPOLLIN | EPOLLERR | EPOLLHUP)) receive(index, deadline_ns);
}

static int by_size(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static double percentile_ms(double ratio) {
  if (!good) return 0;
  return latencies_us[(size_t)((double)(good - 1) * ratio)] / 1e3;
}

static double chance(void) {  /* xorshift; never 0. */
  static uint64_t x = 88172645463325252ULL;
  x ^= x << 13; x ^= x >> 7; x ^= x << 17;
  return ((double)(x >> 11) + 1) / 9007199254740993.0;
}

int main(int count, char **given) {
  if (count != 8) return 2;
  double rate = atof(given[2]), seconds = atof(given[3]), warm_up_s = atof(given[4]);
  int connections = atoi(given[5]);
  int64_t deadline_ns = atoll(given[6]) * 1000000LL;
  is_new = !strcmp(given[7], "new");
  request = is_new ? "GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
                   : "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
  request_bytes = strlen(request);
  if (rate <= 0 || connections < 1 || connections > MAX_CONNECTIONS) return 2;
  server.sin_family = AF_INET;
  server.sin_port = htons((uint16_t)atoi(given[1]));
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < connections; ++i) { all[i].fd = -1; closed[closed_count++] = i; }
  deadline_room = (size_t)connections * 4 + (size_t)(rate * (deadline_ns / 1e9) * 2) + 1024;
  deadlines = calloc(deadline_room, sizeof *deadlines);
  latencies_us = calloc((size_t)(rate * seconds * 2) + 1024, sizeof *latencies_us);
  poll_fd = epoll_create1(0);
  int64_t due_ns = now_ns();
  count_from_ns = due_ns + (int64_t)(warm_up_s * 1e9);
  int64_t end_ns = count_from_ns + (int64_t)(seconds * 1e9);
  struct epoll_event events[EVENTS];
  for (;;) {
    int64_t now = now_ns();
    if (now >= end_ns + deadline_ns) break;
    if (now - due_ns > STALL_NS) {  /* This process did not run: no load was due. */
      stalled_ns += now - due_ns;
      due_ns = now;
    }
    for (int n = 0; due_ns <= now && due_ns < end_ns && n < 256; ++n) {
      begin(due_ns, deadline_ns);
      due_ns += (int64_t)(-log(chance()) / rate * 1e9) + 1;
    }
    expire(now);
    int ready = epoll_wait(poll_fd, events, EVENTS, due_ns > now + 1000000 ? 1 : 0);
    for (int i = 0; i < ready; ++i) on_event(&events[i], deadline_ns);
  }
  qsort(latencies_us, (size_t)good, sizeof *latencies_us, by_size);
  printf("{\"offered\": %ld, \"good\": %ld, \"shed\": %ld, \"late\": %ld, \"broken\": %ld, "
         "\"unsent\": %ld, \"other\": %ld, \"seconds\": %g, \"p50_ms\": %.3f, "
         "\"p99_ms\": %.3f, \"stalled_ms\": %.1f}\n",
         offered, good, shed, late, broken, unsent, other, seconds, percentile_ms(0.5),
         percentile_ms(0.99), (double)stalled_ns / 1e6);
  return 0;
}
