/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds one of each kind of thing that a program can have when it is moved, and looks after a SIGUSR1 whether all of it is still what
 * it was. Prints READY, then for each signal a line "NAME ok" or "NAME bad" per kind, and CHECKED.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS   6
#define SHARED    65536
#define LOOKS     2000 /* of 5 ms: until something that goes on must have gone on */
#define PERIOD_NS 20000000

static bool moves_on(const atomic_ulong *counter)
{
	unsigned long before = atomic_load(counter);

	for (int i = 0; i < LOOKS; i++) {
		struct timespec pause = {.tv_nsec = 5000000};

		if (atomic_load(counter) > before + 2)
			return true;
		(void) nanosleep(&pause, NULL);
	}
	return false;
}

/* Threads that hand a token round, each with memory of its own. */
static atomic_ulong turns[THREADS];
static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static int turn_of;
static _Thread_local unsigned long own_turns;

static void *take_turns(void *context)
{
	int number = (int) (intptr_t) context;

	for (;;) {
		struct timespec pause = {.tv_nsec = 1000000};

		(void) pthread_mutex_lock(&turn_lock);
		while (turn_of != number)
			(void) pthread_cond_wait(&turn_changed, &turn_lock);
		own_turns++;
		atomic_store(&turns[number], own_turns);
		turn_of = (number + 1) % THREADS;
		(void) pthread_cond_broadcast(&turn_changed);
		(void) pthread_mutex_unlock(&turn_lock);
		(void) nanosleep(&pause, NULL);
	}
	return NULL;
}

static bool threads_make(void)
{
	for (int i = 0; i < THREADS; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, take_turns, (void *) (intptr_t) i) != 0)
			return false;
	}
	return true;
}

static bool threads_check(void)
{
	for (int i = 0; i < THREADS; i++) {
		if (!moves_on(&turns[i]))
			return false;
	}
	return true;
}

/* UDP and TCP over the loopback. */
static int udp_here = -1, udp_there = -1, tcp_listener = -1;
static struct sockaddr_in tcp_address;

static int bound(int type, struct sockaddr_in *ret_address)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || getsockname(fd, (struct sockaddr *) ret_address, &size) < 0)
		return -1;
	return fd;
}

static bool udp_make(void)
{
	struct sockaddr_in here, there;

	udp_here = bound(SOCK_DGRAM, &here);
	udp_there = bound(SOCK_DGRAM, &there);
	return udp_here >= 0 && udp_there >= 0 && connect(udp_here, (struct sockaddr *) &there, sizeof(there)) == 0 &&
	       connect(udp_there, (struct sockaddr *) &here, sizeof(here)) == 0;
}

static bool udp_check(void)
{
	char word[8] = "";

	return send(udp_here, "hello", 6, 0) == 6 && recv(udp_there, word, sizeof(word), 0) == 6 && strcmp(word, "hello") == 0;
}

static bool listener_make(void)
{
	tcp_listener = bound(SOCK_STREAM, &tcp_address);
	return tcp_listener >= 0 && listen(tcp_listener, 5) == 0;
}

static bool listener_check(void)
{
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), server;
	char word[8] = "";
	bool is_right = connect(client, (struct sockaddr *) &tcp_address, sizeof(tcp_address)) == 0 && write(client, "hello", 6) == 6;

	server = is_right ? accept(tcp_listener, NULL, NULL) : -1;
	is_right = server >= 0 && read(server, word, sizeof(word)) == 6 && strcmp(word, "hello") == 0;
	(void) close(client);
	(void) close(server);
	return is_right;
}

/* Unix sockets: a pair with bytes on their way, datagrams, a listener with a name and somebody who waits at it. */
static int pair[2], datagrams[2], unix_listener, unix_client;
static bool was_unix_read;

static bool unix_make(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/tmp/kinds.sock"};

	(void) unlink(address.sun_path);
	unix_listener = socket(AF_UNIX, SOCK_STREAM, 0);
	unix_client = socket(AF_UNIX, SOCK_STREAM, 0);
	return socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams) == 0 &&
	       bind(unix_listener, (struct sockaddr *) &address, sizeof(address)) == 0 && listen(unix_listener, 5) == 0 &&
	       write(pair[0], "on the way", 11) == 11 && send(datagrams[1], "one", 4, 0) == 4 && send(datagrams[1], "two", 4, 0) == 4;
}

static bool unix_check(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/tmp/kinds.sock"};
	char text[32] = "", one[8] = "", two[8] = "";
	int client, server;
	bool is_right = true;

	if (!was_unix_read)
		is_right = read(pair[1], text, sizeof(text)) == 11 && strcmp(text, "on the way") == 0 &&
			   recv(datagrams[0], one, sizeof(one), 0) == 4 && recv(datagrams[0], two, sizeof(two), 0) == 4 &&
			   strcmp(one, "one") == 0 && strcmp(two, "two") == 0;
	was_unix_read = true;
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	is_right = is_right && connect(client, (struct sockaddr *) &address, sizeof(address)) == 0;
	server = is_right ? accept(unix_listener, NULL, NULL) : -1;
	is_right = server >= 0 && write(client, "x", 2) == 2 && read(server, text, 2) == 2 && text[0] == 'x';
	(void) close(client);
	(void) close(server);
	return is_right;
}

static int inotify_fd;

static bool inotify_make(void)
{
	(void) mkdir("/tmp/watched", 0755);
	inotify_fd = inotify_init1(IN_NONBLOCK);
	return inotify_fd >= 0 && inotify_add_watch(inotify_fd, "/tmp/watched", IN_CREATE) >= 0;
}

static bool inotify_check(void)
{
	char events[1024];
	int made = open("/tmp/watched/file", O_CREAT | O_WRONLY, 0600);
	ssize_t got = read(inotify_fd, events, sizeof(events));

	(void) close(made);
	(void) unlink("/tmp/watched/file");
	return got > 0;
}

/* All of them go off all the time. */
static atomic_ulong alarms, posix_timers;
static int timer_fd;

static void count_alarm(int number)
{
	atomic_fetch_add(number == SIGALRM ? &alarms : &posix_timers, 1);
}

static bool timers_make(void)
{
	struct itimerval alarm = {.it_interval.tv_usec = PERIOD_NS / 1000, .it_value.tv_usec = PERIOD_NS / 1000};
	struct itimerspec period = {.it_interval.tv_nsec = PERIOD_NS, .it_value.tv_nsec = PERIOD_NS};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	struct sigaction action = {.sa_handler = count_alarm, .sa_flags = SA_RESTART};
	timer_t timer;

	(void) sigaction(SIGALRM, &action, NULL);
	(void) sigaction(SIGRTMIN, &action, NULL);
	timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	return setitimer(ITIMER_REAL, &alarm, NULL) == 0 && timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 &&
	       timer_settime(timer, 0, &period, NULL) == 0 && timerfd_settime(timer_fd, 0, &period, NULL) == 0;
}

static bool timers_check(void)
{
	uint64_t expired = 0;

	(void) read(timer_fd, &expired, sizeof(expired));
	return moves_on(&alarms) && moves_on(&posix_timers) && read(timer_fd, &expired, sizeof(expired)) == sizeof(expired) && expired > 0;
}

/* Shared with a child that counts in all of it: System V, a memory file, a file in /dev/shm, and anonymous. */
static unsigned char *shared[4];

static void share_with_child(void)
{
	for (;;) {
		struct timespec pause = {.tv_nsec = 2000000};

		for (int i = 0; i < 4; i++)
			(*(volatile unsigned long *) shared[i])++;
		(void) nanosleep(&pause, NULL);
	}
}

static void *mapped(int fd)
{
	void *memory = ftruncate(fd, SHARED) == 0 ? mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

	return memory;
}

static bool shared_make(void)
{
	int segment = shmget(IPC_PRIVATE, SHARED, 0600);

	shared[0] = shmat(segment, NULL, 0);
	shared[1] = mapped(memfd_create("kinds", 0));
	shared[2] = mapped(open("/dev/shm/kinds", O_RDWR | O_CREAT, 0600));
	shared[3] = mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 4; i++) {
		if (shared[i] == MAP_FAILED)
			return false;
		memset(shared[i] + sizeof(unsigned long), 'a' + i, SHARED - sizeof(unsigned long));
	}
	if (fork() == 0)
		share_with_child();
	return true;
}

static bool shared_check(void)
{
	for (int i = 0; i < 4; i++) {
		if (!moves_on((atomic_ulong *) (void *) shared[i]))
			return false;
		for (size_t at = sizeof(unsigned long); at < SHARED; at++) {
			if (shared[i][at] != 'a' + i)
				return false;
		}
	}
	return true;
}

/* Files: deleted ones, positions, locks. */
static int deleted_fd, locked_fd;

static bool files_make(void)
{
	deleted_fd = open("/tmp/deleted", O_RDWR | O_CREAT | O_TRUNC, 0600);
	locked_fd = open("/tmp/locked", O_RDWR | O_CREAT, 0600);
	return deleted_fd >= 0 && write(deleted_fd, "nobody else has this", 20) == 20 && unlink("/tmp/deleted") == 0 &&
	       lseek(deleted_fd, 7, SEEK_SET) == 7 && locked_fd >= 0 && flock(locked_fd, LOCK_EX) == 0;
}

static bool files_check(void)
{
	int other = open("/tmp/locked", O_RDWR);
	char text[32] = "";
	struct stat status;
	bool is_right = read(deleted_fd, text, sizeof(text)) == 13 && strcmp(text, "else has this") == 0 &&
			fstat(deleted_fd, &status) == 0 && status.st_nlink == 0 && flock(other, LOCK_EX | LOCK_NB) < 0;

	(void) close(other);
	return lseek(deleted_fd, 7, SEEK_SET) == 7 && is_right;
}

/* Descriptors that have something in them. */
static int pipe_ends[2], event_fd, epoll_fd, signal_fd;
static bool was_pipe_read;

static bool descriptors_make(void)
{
	struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = 77};
	sigset_t mask;

	(void) sigemptyset(&mask);
	(void) sigaddset(&mask, SIGUSR2);
	(void) sigprocmask(SIG_BLOCK, &mask, NULL);
	event_fd = eventfd(5, 0);
	epoll_fd = epoll_create1(0);
	signal_fd = signalfd(-1, &mask, 0);
	return pipe(pipe_ends) == 0 && write(pipe_ends[1], "unread", 7) == 7 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event_fd, &wanted) == 0 &&
	       raise(SIGUSR2) == 0;
}

static bool descriptors_check(void)
{
	struct signalfd_siginfo signal;
	struct epoll_event ready = {0};
	uint64_t count = 0;
	char text[16] = "";

	if (was_pipe_read)
		return true;
	was_pipe_read = true;
	return epoll_wait(epoll_fd, &ready, 1, 0) == 1 && ready.data.u32 == 77 && read(event_fd, &count, sizeof(count)) == 8 && count == 5 &&
	       read(pipe_ends[0], text, sizeof(text)) == 7 && strcmp(text, "unread") == 0 &&
	       read(signal_fd, &signal, sizeof(signal)) == sizeof(signal) && signal.ssi_signo == SIGUSR2;
}

/* A filter that refuses personality(2) with EXDEV. */
static bool seccomp_make(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_personality, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool seccomp_check(void)
{
	return syscall(SYS_personality, 0xffffffff) < 0 && errno == EXDEV && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

struct kind {
	const char *name;
	bool (*make)(void);
	bool (*check)(void);
};

static const struct kind kinds[] = {
	{"udp", udp_make, udp_check},
	{"listener", listener_make, listener_check},
	{"unix", unix_make, unix_check},
	{"inotify", inotify_make, inotify_check},
	{"shared", shared_make, shared_check},
	{"files", files_make, files_check},
	{"descriptors", descriptors_make, descriptors_check},
	{"timers", timers_make, timers_check},
	{"threads", threads_make, threads_check},
	{"seccomp", seccomp_make, seccomp_check},
};

static bool is_asked_for(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], name) == 0)
			return true;
	}
	return argc == 1;
}

int main(int argc, char **argv)
{
	sigset_t mask;

	(void) setvbuf(stdout, NULL, _IOLBF, 0);
	(void) sigemptyset(&mask);
	(void) sigaddset(&mask, SIGUSR1);
	(void) sigprocmask(SIG_BLOCK, &mask, NULL);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (is_asked_for(argc, argv, kinds[i].name) && !kinds[i].make())
			printf("%s not made: %s\n", kinds[i].name, strerror(errno));
	}
	printf("READY\n");
	for (;;) {
		if (sigwaitinfo(&mask, NULL) < 0)
			continue;
		for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
			if (is_asked_for(argc, argv, kinds[i].name))
				printf("%s %s\n", kinds[i].name, kinds[i].check() ? "ok" : "bad");
		}
		printf("CHECKED\n");
	}
}
