/* SHA-256 (FIPS 180-4), for digests of profiles and of cached files. */
#pragma once
#include <stddef.h>

/* The digest of `length` bytes as 64 lower-case hex digits and a terminator. */
void sha256_hex(const void *bytes, size_t length, char hex[65]);
