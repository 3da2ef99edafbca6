/* SPDX-License-Identifier: Apache-2.0 */
/*
 * End of file is reported as what it is: the caller must never take it for success.
 */
#include "checkpoint/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/pkt_sched.h>

#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/certificate.h"

#define READ_BUFFER_BYTES (256U << 10)
/* What the kernel may queue unsent: a faulted page waits behind no more than this. */
#define UNSENT_BYTES      (128 << 10)
#define KEEPALIVE_PROBES  4
#define REFUSAL_MS        2000

static void tls_reason(char *ret_text, size_t size)
{
	unsigned long code = ERR_get_error();
	const char *refusal = certificate_refusal(code);
	const char *reason = refusal != NULL ? refusal : code != 0 ? ERR_reason_error_string(code) : NULL;

	(void) snprintf(ret_text, size, "%s", reason != NULL ? reason : "the connection broke");
	ERR_clear_error();
}

static int load_files(SSL_CTX *context, const struct transport_files *files, struct error *err)
{
	char reason[128];

	if (files->ca == NULL || files->certificate == NULL || files->key == NULL)
		return fail_because(err, EINVAL, "a CA, a certificate and a key are needed");
	if (SSL_CTX_load_verify_locations(context, files->ca, NULL) != 1) {
		tls_reason(reason, sizeof(reason));
		return fail_because(err, EINVAL, "CA '%s': %s", files->ca, reason);
	}
	if (SSL_CTX_use_certificate_chain_file(context, files->certificate) != 1) {
		tls_reason(reason, sizeof(reason));
		return fail_because(err, EINVAL, "certificate '%s': %s", files->certificate, reason);
	}
	if (SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(context) != 1) {
		tls_reason(reason, sizeof(reason));
		return fail_because(err, EINVAL, "key '%s': %s", files->key, reason);
	}
	return 0;
}

/* A server's own dates are for the client to see: it can say to somebody what is wrong. */
static int load_own(SSL_CTX *context, bool is_server, const struct transport_files *files, struct error *err)
{
	int r = load_files(context, files, err);

	return r == 0 && !is_server ? certificate_check_own(context, files->certificate, err) : r;
}

static SSL *make_tls(int fd, bool is_server, const struct transport_files *files, struct error *err)
{
	SSL_CTX *context = SSL_CTX_new(TLS_method());
	SSL *tls = NULL;

	if (context == NULL) {
		(void) fail_errno(err, ENOMEM, "set up TLS");
		return NULL;
	}
	(void) SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
	(void) SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_read_ahead(context, 1);
	SSL_CTX_set_default_read_buffer_len(context, READ_BUFFER_BYTES);
	(void) SSL_CTX_set_num_tickets(context, 0);
	/* not the kernel's TLS: OpenSSL does not copy what waits to be sent then, though our buffers move, and connections broke with
	 * "wrong version number" on kernels that have it */
	if (load_own(context, is_server, files, err) == 0) {
		tls = SSL_new(context);
		if (tls == NULL || SSL_set_fd(tls, fd) != 1)
			(void) fail_errno(err, ENOMEM, "set up TLS");
		else if (is_server)
			SSL_set_accept_state(tls);
		else
			SSL_set_connect_state(tls);
	}
	SSL_CTX_free(context);
	return tls;
}

static int shake_hands(SSL *tls, int fd, int timeout_ms, struct error *err)
{
	uint64_t end = clock_monotonic_ns() + (uint64_t) timeout_ms * NS_PER_MS;
	char reason[CERTIFICATE_PROBLEM_SIZE], problem[CERTIFICATE_PROBLEM_SIZE];

	certificate_watch(tls, problem);
	for (;;) {
		int r = SSL_do_handshake(tls);
		struct pollfd event = {.fd = fd};
		uint64_t now = clock_monotonic_ns();
		int why;

		if (r == 1) {
			SSL_set_app_data(tls, NULL);
			return 0;
		}
		why = SSL_get_error(tls, r);
		if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
			tls_reason(reason, sizeof(reason));
			return fail_because(err, EACCES, "TLS handshake: %s", problem[0] != '\0' ? problem : reason);
		}
		if (now >= end)
			return fail_because(err, ETIMEDOUT, "TLS handshake: no answer within %d ms", timeout_ms);
		event.events = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
		(void) poll(&event, 1, (int) ((end - now) / NS_PER_MS) + 1);
	}
}

/* A client whose certificate was refused may be sending already (TLS 1.3 lets it): if that were left unread, closing would send a
 * reset, which overtakes the alert that says why. */
static void let_it_read_why(int fd)
{
	uint64_t end = clock_monotonic_ns() + REFUSAL_MS * NS_PER_MS;
	char rest[4096];

	if (shutdown(fd, SHUT_WR) < 0)
		return;
	while (clock_monotonic_ns() < end) {
		struct pollfd event = {.fd = fd, .events = POLLIN};
		ssize_t got;

		if (poll(&event, 1, REFUSAL_MS) <= 0)
			return;
		got = recv(fd, rest, sizeof(rest), MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
			return;
	}
}

/* Without these a cut would be noticed after a quarter of an hour, and what was sent into it again as late. */
static void tune_tcp(int fd, int timeout_ms)
{
	int on = 1, unsent = UNSENT_BYTES, probes = KEEPALIVE_PROBES;
	int interval = timeout_ms / 1000 / (KEEPALIVE_PROBES + 1) > 0 ? timeout_ms / 1000 / (KEEPALIVE_PROBES + 1) : 1;

	(void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	(void) setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &interval, sizeof(interval));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

int transport_open(struct transport *self, int *fd, bool is_server, const struct transport_files *files, int timeout_ms,
		   struct error *err)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	int r = 0;

	*self = (struct transport){.fd = take_fd(fd)};
	if (getsockname(self->fd, (struct sockaddr *) &address, &size) < 0)
		r = fail_errno(err, errno, "look at the connection");
	else if (fcntl(self->fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(self->fd, F_SETFD, FD_CLOEXEC) < 0)
		r = fail_errno(err, errno, "prepare the connection");
	else if (address.ss_family == AF_UNIX && !socket_peer_is_trusted(self->fd))
		r = fail_because(err, EACCES, "the peer is another user");
	if (r == 0 && address.ss_family != AF_UNIX) {
		tune_tcp(self->fd, timeout_ms);
		self->tls = make_tls(self->fd, is_server, files, err);
		r = self->tls == NULL ? err->code : shake_hands(self->tls, self->fd, timeout_ms, err);
		if (r == -EACCES && is_server)
			let_it_read_why(self->fd);
	}
	if (r < 0)
		transport_close(self);
	return r;
}

void transport_close(struct transport *self)
{
	if (self->tls != NULL)
		SSL_free(self->tls);
	self->tls = NULL;
	owned_fd_release(&self->fd);
	self->fd = FD_NONE;
}

void transport_pace(const struct transport *self, uint64_t bytes_per_s)
{
	uint64_t rate = bytes_per_s > 0 ? bytes_per_s : UINT64_MAX;

	(void) setsockopt(self->fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate));
}

void transport_prefer(const struct transport *self)
{
	int low_delay = IPTOS_LOWDELAY, priority = TC_PRIO_INTERACTIVE;

	(void) setsockopt(self->fd, IPPROTO_IP, IP_TOS, &low_delay, sizeof(low_delay));
	(void) setsockopt(self->fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
}

static ssize_t tls_result(struct transport *self, int result)
{
	switch (SSL_get_error(self->tls, result)) {
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		self->wants_write = true;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		(void) text_fit(self->problem, sizeof(self->problem), "%s", "the connection was cut");
		ERR_clear_error();
		return -EIO;
	default:
		tls_reason(self->problem, sizeof(self->problem));
		return -EIO;
	}
}

static ssize_t plain_result(struct transport *self, ssize_t result)
{
	if (result >= 0)
		return result;
	if (errno == EAGAIN || errno == EINTR)
		return -EAGAIN;
	(void) text_fit(self->problem, sizeof(self->problem), "%s", strerrordesc_np(errno));
	return -EIO;
}

ssize_t transport_read(struct transport *self, void *data, size_t size)
{
	int r;

	if (self->tls == NULL)
		return plain_result(self, recv(self->fd, data, size, 0));
	self->wants_write = false;
	r = SSL_read(self->tls, data, size > INT32_MAX ? INT32_MAX : (int) size);
	return r > 0 ? r : tls_result(self, r);
}

ssize_t transport_write(struct transport *self, const void *data, size_t size)
{
	int r;

	if (self->tls == NULL)
		return plain_result(self, send(self->fd, data, size, MSG_NOSIGNAL));
	r = SSL_write(self->tls, data, size > INT32_MAX ? INT32_MAX : (int) size);
	return r > 0 ? r : tls_result(self, r);
}

void transport_certificates(const struct transport *self, struct certificate_facts *ret_ours, struct certificate_facts *ret_theirs)
{
	certificate_look(self->tls != NULL ? SSL_get_certificate(self->tls) : NULL, ret_ours);
	certificate_look(self->tls != NULL ? SSL_get0_peer_certificate(self->tls) : NULL, ret_theirs);
}
