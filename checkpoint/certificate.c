/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/certificate.h"

#include "base/text.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#define TIME_SIZE 32

static int64_t seconds_of(const ASN1_TIME *time)
{
	struct tm parts;

	return time != NULL && ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t) timegm(&parts) : 0;
}

static void format_time(int64_t seconds, char ret_text[static TIME_SIZE])
{
	time_t time = (time_t) seconds;
	struct tm parts;

	if (gmtime_r(&time, &parts) == NULL || strftime(ret_text, TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
		ret_text[0] = '\0';
}

void certificate_look(X509 *certificate, struct certificate_facts *ret_facts)
{
	const X509_NAME *subject = certificate != NULL ? X509_get_subject_name(certificate) : NULL;
	char name[CERTIFICATE_NAME_SIZE - 4] = "";

	*ret_facts = (struct certificate_facts){.name = ""};
	if (certificate == NULL)
		return;
	if (X509_NAME_get_text_by_NID(subject, NID_commonName, name, sizeof(name)) < 0)
		name[0] = '\0';
	for (char *at = name; *at != '\0'; at++) {
		if ((unsigned char) *at < 0x20 || *at == '"' || *at == '\\')
			*at = '?';
	}
	(void) text_fit(ret_facts->name, sizeof(ret_facts->name), "CN=%s", name);
	ret_facts->from_s = seconds_of(X509_get0_notBefore(certificate));
	ret_facts->until_s = seconds_of(X509_get0_notAfter(certificate));
}

/* owner: "the other host's certificate", "this host's certificate"; where: what to do about it. False: it is valid. */
static bool describe_dates(const struct certificate_facts *facts, const char *owner, const char *where, char *ret_text, size_t size)
{
	char now[TIME_SIZE], from[TIME_SIZE], until[TIME_SIZE];
	time_t seconds = time(NULL);

	format_time((int64_t) seconds, now);
	format_time(facts->from_s, from);
	format_time(facts->until_s, until);
	if (seconds > facts->until_s)
		return text_fit(ret_text, size, "%s (%s) expired at %s: %s", owner, facts->name, until, where);
	if (seconds < facts->from_s)
		return text_fit(ret_text, size, "%s (%s) is not valid before %s, and the clock here says %s: set the clock, or %s", owner,
				facts->name, from, now, where);
	return false;
}

/* Whichever certificate of the chain it was that led nowhere. */
static void describe_stranger(X509_STORE_CTX *store, char *problem)
{
	struct certificate_facts facts;

	certificate_look(X509_STORE_CTX_get0_cert(store), &facts);
	(void) text_fit(problem, CERTIFICATE_PROBLEM_SIZE,
			"the other host's certificate (%s) is not of the CA in this host's ca.pem: both hosts need certificates of one CA", facts.name);
}

static void describe_problem(X509_STORE_CTX *store, char *problem)
{
	int depth = X509_STORE_CTX_get_error_depth(store), code = X509_STORE_CTX_get_error(store);
	const char *owner = depth == 0 ? "the other host's certificate" : "the CA certificate of the other host's certificate";
	const char *where = depth == 0 ? "give the other host a new cert.pem" : "give both hosts a new ca.pem, and certificates of it";
	struct certificate_facts facts;

	certificate_look(X509_STORE_CTX_get_current_cert(store), &facts);
	if ((code == X509_V_ERR_CERT_HAS_EXPIRED || code == X509_V_ERR_CERT_NOT_YET_VALID) &&
	    describe_dates(&facts, owner, where, problem, CERTIFICATE_PROBLEM_SIZE))
		return;
	if (code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY || code == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
	    code == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT || code == X509_V_ERR_CERT_SIGNATURE_FAILURE ||
	    code == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE)
		describe_stranger(store, problem);
	else
		(void) text_fit(problem, CERTIFICATE_PROBLEM_SIZE, "%s (%s) is refused: %s", owner, facts.name,
				X509_verify_cert_error_string(code));
}

static int verify(int is_good, X509_STORE_CTX *store)
{
	SSL *tls = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	char *problem = tls != NULL ? SSL_get_app_data(tls) : NULL;

	if (!is_good && problem != NULL && problem[0] == '\0')
		describe_problem(store, problem);
	return is_good;
}

void certificate_watch(SSL *tls, char problem[static CERTIFICATE_PROBLEM_SIZE])
{
	problem[0] = '\0';
	SSL_set_app_data(tls, problem);
	SSL_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, verify);
}

int certificate_check_own(SSL_CTX *context, const char *file, struct error *err)
{
	struct certificate_facts facts;
	char problem[CERTIFICATE_PROBLEM_SIZE];

	certificate_look(SSL_CTX_get0_certificate(context), &facts);
	if (!describe_dates(&facts, "this host's certificate", "put a new one in its place", problem, sizeof(problem)))
		return 0;
	return fail_because(err, EKEYEXPIRED, "certificate '%s': %s", file, problem);
}

const char *certificate_refusal(unsigned long openssl_error)
{
	switch (ERR_GET_REASON(openssl_error)) {
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
		return "the other host says that this host's certificate has expired: compare the clocks, or give this host a new cert.pem";
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
		return "the other host says that this host's certificate is not of its CA: both hosts need certificates of one CA";
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
		return "the other host refuses this host's certificate: by its clock it may not be valid yet; compare the clocks";
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
	case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
		return "the other host refuses this host's certificate";
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return "a certificate is needed on both sides";
	default:
		return NULL;
	}
}
