/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a certificate, said so that somebody can mend it.
 */
#pragma once

#include "base/error.h"

#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

#define CERTIFICATE_NAME_SIZE    96
#define CERTIFICATE_PROBLEM_SIZE 320

struct certificate_facts {
	char name[CERTIFICATE_NAME_SIZE]; /* "CN=web1" */
	int64_t from_s, until_s;          /* since the epoch */
};

/* Accepts NULL: then all is empty. */
void certificate_look(X509 *certificate, struct certificate_facts *ret_facts);

/* Has the first thing that is wrong with the other host's certificate described in problem, which is as long as the handshake lasts. */
void certificate_watch(SSL *tls, char problem[static CERTIFICATE_PROBLEM_SIZE]);

/* Our own: -EKEYEXPIRED when it is not valid now. file is for the message. */
int certificate_check_own(SSL_CTX *context, const char *file, struct error *err);

/* What the other host means when it refuses ours; NULL: it is about something else. */
const char *certificate_refusal(unsigned long openssl_error);
