/* Causal attention of bf16 operands in blocks: as attention.c, with the products by pairs (pairs.h). Probabilities and their gradients
 * are rounded to bf16 where they become operands; sums, maxima and exponentials are floats.
 *
 * Backward makes the scores turned over, a row a key: then P and dS are dV's and dK's left operands as they lie, and dQ is made turned
 * over as well, dQᵀ = Kᵀ dSᵀ, whose right operand is rows of dSᵀ in pairs. */
#include "kernels/cpu/simd/attention.h"
#include "kernels/cpu/simd/pairs.h"
#include "kernels/cpu/simd/rope.h"

cpu_kernel ISA(attention_bf16), ISA(attention_backward_bf16);

#define QUERIES ATTENTION_QUERIES
#define KEYS ATTENTION_KEYS
#define GROUP (2 * TILE_ROWS) /* rows and columns that are multiplied at once: all sizes here are multiples */
#define PAIRS (KEYS / 2 + GRAIN)
#define TURNED (QUERIES + 16) /* a row of scores turned over */
#define TURNED_PAIRS (QUERIES / 2 + GRAIN)
_Static_assert(QUERIES % GROUP == 0 && KEYS % QUERIES == 0 && GROUP % NR == 0, "whole tiles");

static inline int64_t whole(int64_t count)
{
    return (count + GROUP - 1) / GROUP * GROUP;
}

struct head {
    int64_t T, D, rows, width; /* context, head size; both in whole groups */
    int64_t row;               /* pairs of a row of `width` */
    struct values q, k, v;
    const float *angles;
    int64_t stride; /* of q, k, v */
    float scale;
    bool amx;
    float *square;
};

static struct head head_of(const struct program *program, const struct node *node, int32_t qkv, int32_t table,
                           int64_t pair, float *square)
{
    const int64_t T = node->dims.context, D = node->dims.head_dim, H = node->dims.heads;
    const int64_t stride = cpu_stride(program, qkv), b = pair / H, h = pair % H;
    const struct values q = values_from(values_of(program, qkv), b * T * stride + h * D);
    return (struct head){
        .T = T,
        .D = D,
        .rows = whole(T),
        .width = whole(D),
        .row = whole(D) / 2,
        .q = q,
        .k = values_from(q, H * D),
        .v = values_from(q, 2 * H * D),
        .angles = table == TENSOR_NONE ? NULL : program->data[table],
        .stride = stride,
        .scale = node->scale,
        .amx = program->amx,
        .square = square,
    };
}

/* `count` rows from `from` on, turned to their positions from `position` on where `turn` and there is a table, times `scale`; zero up to the
 * width, and rows of zeros up to `most`. */
static void rows_load(const struct head *head, struct values from, int64_t stride, int64_t position, int64_t count,
                      int64_t most, bool turn, float scale, bf16_pair *to)
{
    for (int64_t r = 0; r < count; r++, to += head->row) {
        const struct values x = values_from(from, r * stride), y = {(char *)to, true};
        memset((char *)to + head->D * 2, 0, (size_t)(head->width - head->D) * 2);
        if (turn && head->angles)
            rope_head(x, head->angles + (position + r) * head->D, y, head->D, 1, scale);
        else if (scale == 1)
            // NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): every operand that is loaded has values
            memcpy(to, x.at, (size_t)head->D * 2);
        else
            for (int64_t d = 0; d < head->D; d += VN)
                values_put(y, d, values_get(x, d, head->D - d) * scale, head->D - d);
    }
    memset(to, 0, (size_t)((most - count) * head->row) * sizeof *to);
}

/* Rows as columns of panels, k along the width: a right operand (width, count). */
static void columns_of_rows(const struct head *head, const bf16_pair *rows, int64_t count, bf16_pair *to)
{
    for (int64_t base = 0; base < count; base += NR, to += head->row * NR)
        for (int64_t k = 0; k < head->row; k += SQUARE)
            for (int64_t c = 0; c < NR; c += SQUARE)
                transpose_square((const float *)(const void *)(rows + (base + c) * head->row + k), head->row, SQUARE,
                                 (float *)(void *)(to + k * NR + c), NR);
}

/* Rows as they are, k along them: a right operand (count, width), its panels `panel` apart. */
static void panels_of_rows(const struct head *head, const bf16_pair *rows, int64_t count, bf16_pair *to, int64_t panel)
{
    for (int64_t base = 0; base < head->width; base += NR, to += panel)
        for (int64_t t = 0; t < count; t += 2) {
            const uint16_t *row = (const uint16_t *)(const void *)(rows + t * head->row) + base;
            pairs_of_rows(row, row + head->width, NR, to + t / 2 * NR);
        }
}

/* A row of probabilities from its scores: exp(s − top), rounded, zero up to `columns`; returns the sum, which is not rounded. */
static inline float exp_row(const float *s, int64_t count, int64_t columns, float top, bf16_pair *p)
{
    const struct values y = {(char *)p, true};
    vf sum = {0};
    int64_t u = 0;
    for (; u + VN <= count; u += VN) {
        const vf e = vf_exp(vf_load(s + u) - top);
        values_put(y, u, e, VN);
        sum += e;
    }
    float total = vf_sum(sum);
    if (u < count) {
        const vf e = vf_exp(vf_get(s + u, count - u) - top);
        values_put(y, u, e, count - u);
        for (int64_t i = 0; i < count - u; i++)
            total += e[i];
    }
    values_clear(y, count, columns - count);
    return total;
}

static inline float largest_of(const float *s, int64_t count)
{
    vf top = vf_set(-INFINITY);
    int64_t u = 0;
    for (; u + VN <= count; u += VN)
        top = vf_max(top, vf_load(s + u));
    float largest = vf_largest(top);
    for (; u < count; u++)
        largest = s[u] > largest ? s[u] : largest;
    return largest;
}

/* Online softmax: what earlier key blocks left in `sum` and `o` is corrected for a larger maximum. `ahead` is query − key. */
static void softmax_block(const float *s, bf16_pair *p, int64_t queries, int64_t keys, int64_t ahead, bool first,
                          float *top, float *sum, float *o, int64_t width)
{
    for (int64_t r = 0; r < queries; r++) {
        const float *row = s + r * ATTENTION_STRIDE;
        const int64_t seen = ahead + r + 1, count = seen < keys ? seen : keys;
        const int64_t read = whole(ahead + r / GROUP * GROUP + GROUP), most = whole(keys);
        const float before = top[r], here = largest_of(row, count);
        const float now = here > before ? here : before;
        const float total = exp_row(row, count, read < most ? read : most, now, p + r * PAIRS);
        const float correction = first ? 0 : expf(before - now);
        sum[r] = first ? total : sum[r] * correction + total;
        top[r] = now;
        for (int64_t d = 0; !first && correction != 1 && d < width; d += VN)
            vf_store(o + r * width + d, vf_load(o + r * width + d) * correction);
    }
}

static void head_forward(const struct head *head, float *scratch, struct values o, int64_t stride, float *lse)
{
    const int64_t T = head->T, D = head->D, width = head->width, row = head->row, panel = head->rows / 2 * NR;
    bf16_pair *key_columns = (bf16_pair *)(void *)scratch, *value_panels = key_columns + head->rows * row,
              *q = value_panels + head->rows * row, *p = q + QUERIES * row;
    float *s = (float *)(void *)(p + QUERIES * PAIRS), *block = s + QUERIES * ATTENTION_STRIDE,
          *top = block + QUERIES * width, *sum = top + QUERIES;
    for (int64_t t = 0; t < T; t += GROUP) {
        const int64_t count = T - t < GROUP ? T - t : GROUP;
        rows_load(head, values_from(head->k, t * head->stride), head->stride, t, count, GROUP, true, 1, q);
        columns_of_rows(head, q, GROUP, key_columns + t * row);
        rows_load(head, values_from(head->v, t * head->stride), head->stride, t, count, GROUP, false, 1, q);
        panels_of_rows(head, q, GROUP, value_panels + t / 2 * NR, panel);
    }
    for (int64_t query = 0; query < T; query += QUERIES) {
        const int64_t queries = T - query < QUERIES ? T - query : QUERIES, end = query + queries;
        rows_load(head, values_from(head->q, query * head->stride), head->stride, query, queries, whole(queries), true,
                  head->scale, q);
        for (int64_t r = 0; r < queries; r++)
            top[r] = -INFINITY;
        for (int64_t key = 0; key < end; key += KEYS) {
            const int64_t keys = end - key < KEYS ? end - key : KEYS, ahead = query - key;
            for (int64_t j = 0; j < whole(keys); j += GROUP) {
                const int64_t first = j > ahead ? j - ahead : 0; /* rows that see one of these columns */
                pairs_multiply(head->amx, whole(queries) - first, GROUP, row, q + first * row, row,
                               key_columns + (key + j) * row, row * NR, s + first * ATTENTION_STRIDE + j,
                               ATTENTION_STRIDE, TILE_STORE, head->square);
            }
            softmax_block(s, p, queries, keys, ahead, key == 0, top, sum, block, width);
            for (int64_t i = 0; i < whole(queries); i += GROUP) {
                const int64_t seen = ahead + i + GROUP, depth = whole(seen < keys ? seen : keys);
                pairs_multiply(head->amx, GROUP, width, depth / 2, p + i * PAIRS, PAIRS, value_panels + key / 2 * NR,
                               panel, block + i * width, width, key > 0 ? TILE_ADD : TILE_STORE, head->square);
            }
        }
        for (int64_t r = 0; r < queries; r++) {
            const float inverse = 1.0f / sum[r];
            for (int64_t d = 0; d < D; d += VN)
                values_put(o, (query + r) * stride + d, vf_load(block + r * width + d) * inverse, D - d);
            lse[query + r] = top[r] + logf(sum[r]);
        }
    }
}

void ISA(attention_bf16)(struct program *program, const struct node *node)
{
    const int64_t T = node->dims.context, H = node->dims.heads, D = node->dims.head_dim;
    const int64_t stride = cpu_stride(program, node->output[0]);
    const struct values o = values_output(program, node, 0);
    float *lse = cpu_output(program, node, 1);
#pragma omp parallel num_threads(program->threads)
    {
        float *scratch = program->scratch + (size_t)omp_get_thread_num() * program->scratch_stride;
        pairs_begin(program->amx);
#pragma omp for schedule(static)
        for (int64_t pair = 0; pair < node->dims.batch * H; pair++) {
            const struct head head = head_of(program, node, node->input[0], node->input[1], pair, scratch);
            head_forward(&head, scratch + ATTENTION_SQUARE, values_from(o, pair / H * T * stride + pair % H * D),
                         stride, lse + pair * T);
        }
        pairs_end(program->amx);
    }
}

/* Where a head's gradient goes and what it comes from. */
struct head_gradient {
    struct values d_o, o;
    const float *lse;
    int64_t o_stride;
    struct values dq, dk, dv;
    float *delta;
    int64_t stride; /* of dq, dk, dv */
};

/* y = x turned back from `position`. */
static inline void store_row(const struct head *head, const float *x, int64_t position, struct values y)
{
    if (head->angles)
        rope_head(values_of_floats(x), head->angles + position * head->D, y, head->D, -1, 1);
    else
        values_rows_put(y, x, 1, head->D, head->D);
}

/* Row u of a block turned over, a key's: p = exp(s − lse), ds = p · (dp − delta) for the queries from `first` to `queries`, zero before, from
 * the group's first on, and after. */
static inline void gradient_row(const float *s, const float *dp, int64_t group, int64_t first, int64_t queries,
                                const float *lse, const float *delta, bf16_pair *p, bf16_pair *ds)
{
    const struct values p_row = {(char *)p, true}, ds_row = {(char *)ds, true};
    vi lane;
    for (int i = 0; i < VN; i++)
        lane[i] = i;
    for (int64_t r = group; r < whole(queries); r += VN) {
        const int64_t n = queries - r;
        vf e = {0}, d = {0};
        if (r + VN > first && n > 0) {
            const vi at = lane + (int32_t)r, there = (at >= (int32_t)first) & (at < (int32_t)queries);
            e = vf_select(there, vf_exp(vf_load(s + r) - vf_get(lse + r, n)), e);
            d = vf_select(there, e * (vf_load(dp + r) - vf_get(delta + r, n)), d);
        }
        values_put(p_row, r, e, VN);
        values_put(ds_row, r, d, VN);
    }
}

/* Rooms of backward, cut from a thread's scratch. */
struct rooms {
    bf16_pair *k_rows, *v_rows, *k_turned, *q_columns, *do_columns, *q_panels, *do_panels, *row, *p, *ds, *ds_panels;
    float *dk, *dv, *dq_turned, *dq, *s, *dp;
};

/* Pairs from row to row of K turned over. */
static inline int64_t turned_apart(const struct head *head)
{
    return head->rows / 2 + GRAIN;
}

static struct rooms rooms_of(const struct head *head, float *scratch)
{
    struct rooms r;
    const int64_t all = head->rows * head->row, block = QUERIES * head->row;
    r.k_rows = (bf16_pair *)(void *)scratch;
    r.v_rows = r.k_rows + all;
    r.k_turned = r.v_rows + all;
    r.q_columns = r.k_turned + head->width * turned_apart(head);
    r.do_columns = r.q_columns + block;
    r.q_panels = r.do_columns + block;
    r.do_panels = r.q_panels + block;
    r.row = r.do_panels + block;
    r.p = r.row + block;
    r.ds = r.p + KEYS * TURNED_PAIRS;
    r.ds_panels = r.ds + KEYS * TURNED_PAIRS;
    r.dk = (float *)(void *)(r.ds_panels + KEYS / 2 * QUERIES);
    r.dv = r.dk + head->rows * head->width;
    r.dq_turned = r.dv + head->rows * head->width;
    r.dq = r.dq_turned + head->width * QUERIES;
    r.s = r.dq + QUERIES * head->width;
    r.dp = r.s + KEYS * TURNED;
    return r;
}

/* A block of queries against a block of keys. */
static void block_backward(const struct head *head, const struct rooms *m, int64_t query, int64_t queries, int64_t key,
                           int64_t keys, const float *lse, const float *delta)
{
    const int64_t ahead = query - key, row = head->row, width = head->width, wide = whole(queries);
    for (int64_t j = 0; j < wide; j += GROUP) { /* keys that one of these queries sees */
        const int64_t seen = ahead + j + GROUP, down = whole(seen < keys ? seen : keys);
        pairs_multiply(head->amx, down, GROUP, row, m->k_rows + key * row, row, m->q_columns + j * row, row * NR,
                       m->s + j, TURNED, TILE_STORE, head->square);
        pairs_multiply(head->amx, down, GROUP, row, m->v_rows + key * row, row, m->do_columns + j * row, row * NR,
                       m->dp + j, TURNED, TILE_STORE, head->square);
    }
    for (int64_t u0 = 0; u0 < keys; u0 += GROUP) {
        const int64_t group = u0 > ahead ? u0 - ahead : 0, at = (key + u0) * width;
        for (int64_t u = u0; u < u0 + GROUP; u++)
            /* Beyond the keys nobody sees anything. */
            gradient_row(m->s + u * TURNED, m->dp + u * TURNED, group,
                         u >= keys   ? wide
                         : u > ahead ? u - ahead
                                     : 0,
                         queries, lse, delta, m->p + u * TURNED_PAIRS, m->ds + u * TURNED_PAIRS);
        pairs_multiply(head->amx, GROUP, width, (wide - group) / 2, m->p + u0 * TURNED_PAIRS + group / 2, TURNED_PAIRS,
                       m->do_panels + group / 2 * NR, wide / 2 * NR, m->dv + at, width, TILE_ADD, head->square);
        pairs_multiply(head->amx, GROUP, width, (wide - group) / 2, m->ds + u0 * TURNED_PAIRS + group / 2, TURNED_PAIRS,
                       m->q_panels + group / 2 * NR, wide / 2 * NR, m->dk + at, width, TILE_ADD, head->square);
    }
    for (int64_t j = 0; j < wide; j += GROUP) {
        const int64_t seen = ahead + j + GROUP, depth = whole(seen < keys ? seen : keys);
        for (int64_t base = 0; base < GROUP; base += NR)
            for (int64_t u = 0; u < depth; u += 2) {
                const uint16_t *from = (const uint16_t *)(const void *)(m->ds + u * TURNED_PAIRS) + j + base;
                pairs_of_rows(from, from + 2 * TURNED_PAIRS, NR, m->ds_panels + base * (depth / 2) + u / 2 * NR);
            }
        pairs_multiply(head->amx, width, GROUP, depth / 2, m->k_turned + key / 2, turned_apart(head), m->ds_panels,
                       depth / 2 * NR, m->dq_turned + j, QUERIES, key > 0 ? TILE_ADD : TILE_STORE, head->square);
    }
}

static void head_backward(const struct head *head, const struct head_gradient *g, float *scratch)
{
    const int64_t T = head->T, D = head->D, width = head->width;
    const struct rooms m = rooms_of(head, scratch);
    rows_load(head, head->k, head->stride, 0, T, head->rows, true, 1, m.k_rows);
    rows_load(head, head->v, head->stride, 0, T, head->rows, false, 1, m.v_rows);
    pairs_across((const uint16_t *)(const void *)m.k_rows, width, width, head->rows, m.k_turned, turned_apart(head));
    memset(m.dk, 0, (size_t)(2 * head->rows * width) * sizeof *m.dk);
    for (int64_t query = 0; query < T; query += QUERIES) {
        const int64_t queries = T - query < QUERIES ? T - query : QUERIES, end = query + queries, wide = whole(queries);
        const struct values o = values_from(g->o, query * g->o_stride), d_o = values_from(g->d_o, query * g->o_stride);
        rows_load(head, d_o, g->o_stride, query, queries, wide, false, 1, m.row);
        columns_of_rows(head, m.row, wide, m.do_columns);
        panels_of_rows(head, m.row, wide, m.do_panels, wide / 2 * NR);
        rows_load(head, values_from(head->q, query * head->stride), head->stride, query, queries, wide, true,
                  head->scale, m.row);
        columns_of_rows(head, m.row, wide, m.q_columns);
        panels_of_rows(head, m.row, wide, m.q_panels, wide / 2 * NR);
        for (int64_t r = 0; r < queries; r++) {
            vf sum = {0};
            for (int64_t d = 0; d < D; d += VN)
                sum += values_get(d_o, r * g->o_stride + d, D - d) * values_get(o, r * g->o_stride + d, D - d);
            // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): every gradient has its delta
            g->delta[query + r] = vf_sum(sum);
        }
        for (int64_t key = 0; key < end; key += KEYS)
            block_backward(head, &m, query, queries, key, end - key < KEYS ? end - key : KEYS, g->lse + query,
                           g->delta + query);
        for (int64_t d = 0; d < width; d += SQUARE)
            for (int64_t r = 0; r < wide; r += SQUARE)
                transpose_square(m.dq_turned + d * QUERIES + r, QUERIES, SQUARE, m.dq + r * width + d, width);
        for (int64_t r = 0; r < queries; r++) {
            float *x = m.dq + r * width;
            for (int64_t d = 0; d < width; d += VN)
                vf_store(x + d, vf_load(x + d) * head->scale);
            store_row(head, x, query + r, values_from(g->dq, (query + r) * g->stride));
        }
    }
    for (int64_t t = 0; t < T; t++) {
        store_row(head, m.dk + t * width, t, values_from(g->dk, t * g->stride));
        values_rows_put(values_from(g->dv, t * g->stride), m.dv + t * width, 1, D, D);
    }
}

void ISA(attention_backward_bf16)(struct program *program, const struct node *node)
{
    const int64_t T = node->dims.context, H = node->dims.heads, D = node->dims.head_dim;
    const int64_t o_stride = cpu_stride(program, node->input[2]), stride = cpu_stride(program, node->output[0]);
    const struct values d_o = values_input(program, node, 0), o = values_input(program, node, 2),
                        dqkv = values_output(program, node, 0);
    const float *lse = cpu_input(program, node, 3);
    float *delta = cpu_output(program, node, 1);
#pragma omp parallel num_threads(program->threads)
    {
        float *scratch = program->scratch + (size_t)omp_get_thread_num() * program->scratch_stride;
        pairs_begin(program->amx);
#pragma omp for schedule(static)
        for (int64_t pair = 0; pair < node->dims.batch * H; pair++) {
            const struct head head = head_of(program, node, node->input[1], node->input[4], pair, scratch);
            const int64_t at = pair / H * T * o_stride + pair % H * D;
            const struct values dq = values_from(dqkv, pair / H * T * stride + pair % H * D);
            const struct head_gradient gradient = {
                .d_o = values_from(d_o, at),
                .o = values_from(o, at),
                .lse = lse + pair * T,
                .o_stride = o_stride,
                .dq = dq,
                .dk = values_from(dq, H * D),
                .dv = values_from(dq, 2 * H * D),
                .delta = delta + pair * T,
                .stride = stride,
            };
            head_backward(&head, &gradient, scratch + ATTENTION_SQUARE);
        }
        pairs_end(program->amx);
    }
}
