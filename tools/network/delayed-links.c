/* Links among network namespaces with a rate and a delay, for kernels without netem: each host gets a TUN device whose packets are
 * held back here. What a host sends leaves it at `rate`, one packet after the other, and arrives `delay` later.
 *
 *     delayed_links RATE_BITS_PER_SECOND DELAY_MICROSECONDS QUEUE_BYTES SUBNET NAMESPACE...
 *
 * Host i is SUBNET.(i + 1). Prints "ready" when the devices are up, and runs until it is killed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { MAX_HOSTS = 64, MTU = 65000, SLOTS = 16384 };

struct packet {
  int64_t due_ns;
  int length;
  unsigned char *data;
};

/* What one host sends: its packets leave in order, so the first is always the next that is due. */
struct host {
  int fd;
  struct packet queue[SLOTS];
  unsigned head, tail;
  int64_t queued_bytes, free_at_ns;
  pthread_mutex_t lock;
  pthread_cond_t filled;
};

static struct host *hosts[MAX_HOSTS];
static int host_count;
static double ns_per_byte;
static int64_t delay_ns, queue_bytes;

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void *receive(void *argument) {
  struct host *host = argument;
  for (;;) {
    unsigned char *data = malloc(MTU);
    int length = (int)read(host->fd, data, MTU);
    pthread_mutex_lock(&host->lock);
    int fits = length > 0 && host->queued_bytes + length <= queue_bytes && host->tail - host->head < SLOTS;
    if (fits) {
      int64_t now = now_ns();
      if (host->free_at_ns < now) host->free_at_ns = now;
      host->free_at_ns += (int64_t)(length * ns_per_byte);
      struct packet *packet = &host->queue[host->tail++ % SLOTS];
      packet->due_ns = host->free_at_ns + delay_ns;
      packet->length = length;
      packet->data = data;
      host->queued_bytes += length;
      pthread_cond_signal(&host->filled);
    }
    pthread_mutex_unlock(&host->lock);
    if (!fits) free(data); /* the queue is full: the packet is lost, as on a switch */
  }
  return NULL;
}

static void *deliver(void *argument) {
  struct host *host = argument;
  for (;;) {
    pthread_mutex_lock(&host->lock);
    while (host->head == host->tail) pthread_cond_wait(&host->filled, &host->lock);
    struct packet packet = host->queue[host->head % SLOTS];
    pthread_mutex_unlock(&host->lock);
    struct timespec due = {packet.due_ns / 1000000000LL, packet.due_ns % 1000000000LL};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    int to = packet.length >= 20 && packet.data[0] >> 4 == 4 ? packet.data[19] - 1 : -1;
    if (to >= 0 && to < host_count && write(hosts[to]->fd, packet.data, (size_t)packet.length) < 0) perror("write");
    free(packet.data);
    pthread_mutex_lock(&host->lock);
    host->head++;
    host->queued_bytes -= packet.length;
    pthread_mutex_unlock(&host->lock);
  }
  return NULL;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

/* Makes the device inside the namespace; the descriptor works from outside of it too. */
static int open_device(const char *name, const char *subnet, int index) {
  char path[256], command[512];
  snprintf(path, sizeof path, "/var/run/netns/%s", name);
  int namespace = open(path, O_RDONLY);
  if (namespace < 0 || setns(namespace, CLONE_NEWNET) < 0) fail(path);
  close(namespace);
  int fd = open("/dev/net/tun", O_RDWR);
  if (fd < 0) fail("/dev/net/tun");
  struct ifreq request = {0};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  strcpy(request.ifr_name, "link0");
  if (ioctl(fd, TUNSETIFF, &request) < 0) fail("TUNSETIFF");
  snprintf(command, sizeof command,
           "ip addr add %s.%d/24 dev link0 && ip link set link0 mtu %d txqueuelen 1000 up && ip link set lo up", subnet,
           index + 1, MTU);
  if (system(command) != 0) fail(command);
  return fd;
}

int main(int argc, char **argv) {
  if (argc < 6 || argc - 5 > MAX_HOSTS) {
    fprintf(stderr, "usage: delayed_links RATE_BITS_PER_SECOND DELAY_MICROSECONDS QUEUE_BYTES SUBNET NAMESPACE...\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, 9);
  ns_per_byte = 8e9 / atof(argv[1]);
  delay_ns = atoll(argv[2]) * 1000;
  queue_bytes = atoll(argv[3]);
  host_count = argc - 5;
  for (int i = 0; i < host_count; i++) {
    hosts[i] = calloc(1, sizeof *hosts[i]);
    hosts[i]->fd = open_device(argv[5 + i], argv[4], i);
    pthread_mutex_init(&hosts[i]->lock, NULL);
    pthread_cond_init(&hosts[i]->filled, NULL);
  }
  for (int i = 0; i < host_count; i++) {
    pthread_t thread;
    pthread_create(&thread, NULL, receive, hosts[i]);
    pthread_create(&thread, NULL, deliver, hosts[i]);
  }
  puts("ready");
  fflush(stdout);
  pause();
  return 0;
}
