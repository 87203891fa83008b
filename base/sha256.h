/* SHA-256 (FIPS 180-4), for digests of profiles and of cached files. */
#pragma once
#include <stddef.h>

/* The digest of `length` bytes as 64 lower-case hex digits and a terminator. */
void sha256_hex(const void *bytes, size_t length, char hex[65]);

/* HMAC-SHA-256 (RFC 2104) of up to HMAC_MESSAGE_MAX bytes, in the same form; of longer ones, of their digest. */
#define HMAC_MESSAGE_MAX 1024
void hmac_sha256_hex(const void *key, size_t key_length, const void *bytes, size_t length, char hex[65]);
