#include "base/sha256.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint32_t turned(uint32_t x, int bits)
{
    return x >> bits | x << (32 - bits);
}

/* One 64-byte block into the state; section 6.2.2. */
static void sha256_block(uint32_t state[8], const uint8_t *block)
{
    /* The first 32 bits of the fractional parts of the cube roots of the first 64 primes; section 4.2.2. */
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        const uint32_t s0 = turned(w[i - 15], 7) ^ turned(w[i - 15], 18) ^ w[i - 15] >> 3;
        const uint32_t s1 = turned(w[i - 2], 17) ^ turned(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; i++) {
        const uint32_t sum1 = turned(v[4], 6) ^ turned(v[4], 11) ^ turned(v[4], 25);
        const uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
        const uint32_t sum0 = turned(v[0], 2) ^ turned(v[0], 13) ^ turned(v[0], 22);
        const uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        const uint32_t t1 = v[7] + sum1 + choice + k[i] + w[i], t2 = sum0 + majority;
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

void sha256_hex(const void *bytes, size_t length, char hex[65])
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const uint8_t *at = bytes;
    size_t left = length;
    for (; left >= 64; left -= 64, at += 64)
        sha256_block(state, at);
    uint8_t tail[128] = {0};
    if (left)
        memcpy(tail, at, left);
    tail[left] = 0x80;
    const size_t tail_length = left < 56 ? 64 : 128;
    for (int i = 0; i < 8; i++)
        tail[tail_length - 1 - (size_t)i] = (uint8_t)((uint64_t)length * 8 >> 8 * i);
    for (size_t i = 0; i < tail_length; i += 64)
        sha256_block(state, tail + i);
    for (int i = 0; i < 8; i++)
        snprintf(hex + 8 * i, 9, "%08x", state[i]);
}

static void digest_bytes(const void *bytes, size_t length, uint8_t digest[32])
{
    char hex[65];
    sha256_hex(bytes, length, hex);
    for (int i = 0; i < 32; i++) {
        unsigned value = 0;
        sscanf(hex + 2 * i, "%2x", &value);
        digest[i] = (uint8_t)value;
    }
}

void hmac_sha256_hex(const void *key, size_t key_length, const void *bytes, size_t length, char hex[65])
{
    uint8_t block[64] = {0}, digest[32], inner[64 + HMAC_MESSAGE_MAX], outer[64 + 32];
    if (key_length > sizeof block)
        digest_bytes(key, key_length, block);
    else
        memcpy(block, key, key_length);
    if (length > HMAC_MESSAGE_MAX) {
        digest_bytes(bytes, length, digest);
        bytes = digest;
        length = sizeof digest;
    }
    for (size_t i = 0; i < sizeof block; i++) {
        inner[i] = block[i] ^ 0x36;
        outer[i] = block[i] ^ 0x5c;
    }
    memcpy(inner + 64, bytes, length);
    digest_bytes(inner, 64 + length, outer + 64);
    sha256_hex(outer, sizeof outer, hex);
}
