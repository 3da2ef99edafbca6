/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The byte stream between the two workers of a migration: mutually authenticated TLS 1.3 over TCP, or the bytes as
 * they are over a Unix socket (both workers on one host, the peer's user is checked). Never plain over a network.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct transport_files {
	const char *ca, *certificate, *key; /* PEM */
};

struct transport {
	int fd;    /* owned; non-blocking after opening */
	void *tls; /* SSL, NULL when plain */
	bool wants_write; /* TLS has to write before it can go on reading */
	char problem[200]; /* why the last call gave -EIO */
};

/* Shakes hands within timeout_ms; a connection whose other end is silent for longer than that is broken later on, too. Takes *fd (FD_NONE afterwards) even when it fails. files is unused for Unix
 * sockets. -EACCES: the peer's certificate is not of our CA, or it is another user. */
int transport_open(struct transport *self, int *fd, bool is_server, const struct transport_files *files, int timeout_ms,
		   struct error *err);
/* Accepts a zeroed structure whose fd is FD_NONE. */
void transport_close(struct transport *self);

/* The kernel sends no more than bytes_per_s; 0: what the network takes. For TCP alone. */
void transport_pace(const struct transport *self, uint64_t bytes_per_s);

/* What is sent here is in front of what the same host sends elsewhere, where the network makes a difference. */
void transport_prefer(const struct transport *self);

struct certificate_facts;
/* Empty without TLS. */
void transport_certificates(const struct transport *self, struct certificate_facts *ret_ours, struct certificate_facts *ret_theirs);

/* Bytes, 0 at the end of the stream, -EAGAIN: later, -EIO: broken. */
ssize_t transport_read(struct transport *self, void *data, size_t size);
ssize_t transport_write(struct transport *self, const void *data, size_t size);
