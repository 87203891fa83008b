/* Causal attention in blocks, forward and backward, after FlashAttention (Dao et al. 2022; Dao 2023): the T × T matrix is
 * never stored, tiles above the diagonal are skipped, q and k are turned (RoPE) while they are loaded. One (batch, head)
 * is one task of one thread, so every sum is made in one order whatever the number of threads. */
#include "kernels/cpu/simd/attention.h"
#include "kernels/cpu/simd/pack.h"
#include "kernels/cpu/simd/rope.h"

cpu_kernel ISA(attention), ISA(attention_backward), ISA(attention_bf16), ISA(attention_backward_bf16);

#define QUERIES ATTENTION_QUERIES
#define KEYS ATTENTION_KEYS
#define STRIDE ATTENTION_STRIDE

/* One head of one batch entry. */
struct head {
    int64_t T, D;         /* context, head size */
    int64_t width;        /* D in whole panels: row length of the head's scratch matrices */
    int64_t column_panel; /* floats of a panel of (D, T) operands */
    int64_t row_panel;    /* floats of a panel of (T, D) operands */
    struct values q, k, v;
    const float *angles;
    int64_t stride; /* of q, k, v */
    float scale;
};

static struct head head_of(const struct program *program, const struct node *node, int32_t qkv, int32_t table,
                           int64_t pair)
{
    const int64_t T = node->dims.context, D = node->dims.head_dim, H = node->dims.heads;
    const int64_t stride = cpu_stride(program, qkv), b = pair / H, h = pair % H;
    const struct values q = values_from(values_of(program, qkv), b * T * stride + h * D);
    return (struct head){
        .T = T,
        .D = D,
        .width = (D + NR - 1) / NR * NR,
        .column_panel = D * NR,
        .row_panel = T * NR,
        .q = q,
        .k = values_from(q, H * D),
        .v = values_from(q, 2 * H * D),
        .angles = table == TENSOR_NONE ? NULL : program->data[table],
        .stride = stride,
        .scale = node->scale,
    };
}

/* y = scale · x, turned to `position` where there is a table. */
static inline void load_row(const struct head *head, struct values x, int64_t position, float scale, float *y)
{
    if (head->angles) {
        rope_head(x, head->angles + position * head->D, values_of_floats(y), head->D, 1, scale);
        return;
    }
    for (int64_t d = 0; d < head->D; d += VN)
        vf_put(y + d, values_get(x, d, head->D - d) * scale, head->D - d);
}

/* Rows lie a whole token's width apart, further than the processor looks ahead by itself. */
#define ROWS_AHEAD 8
static inline void expect_row(struct values x, int64_t D)
{
    for (int64_t byte = 0; byte < D * (x.narrow ? 2 : 4); byte += 64)
        __builtin_prefetch(x.at + byte);
}

/* Turned rows, or the rows themselves, as columns of panels: element (d, t) of a (D, T) operand. Columns beyond T are
 * zero. `rows` of (T, width) is overwritten. */
static void pack_keys(const struct head *head, struct values from, float *rows, float *panels)
{
    for (int64_t t = 0; t < head->T; t++) {
        expect_row(values_from(from, (t + ROWS_AHEAD) * head->stride), head->D);
        load_row(head, values_from(from, t * head->stride), t, 1, rows + t * head->width);
    }
    pack_b(rows, 1, head->width, head->D, head->T, panels);
}

/* `count` rows of width D, a row `stride` long, as panels of a (count, D) operand; columns beyond D are zero. */
static void pack_rows(struct values rows, int64_t count, int64_t stride, int64_t D, float *panels)
{
    for (int64_t base = 0; base < D; base += NR)
        for (int64_t t = 0; t < count; t++, panels += NR) {
            const int64_t columns = D - base < NR ? D - base : NR;
            const int64_t from = t * stride + base;
            expect_row(values_from(rows, from + ROWS_AHEAD * stride), NR);
            vf_store(panels, values_get(rows, from, columns));
            vf_store(panels + VN, columns > VN ? values_get(rows, from + VN, columns - VN) : (vf){0});
        }
}

/* The products of a block whose row r sees the columns up to r + ahead, tiles that see nothing left out: what they hold is not
 * read, or they add nothing. `ahead` is query − key. */

/* s = a · bᵀ: (rows, columns) of depth `depth`. */
static void multiply_scores(int64_t rows, int64_t columns, int64_t ahead, int64_t depth, const float *a, int64_t rs,
                            const float *b, int64_t panel, float *s)
{
    for (int64_t j = 0; j < columns; j += NR, b += panel) {
        const int64_t first = j > ahead ? (j - ahead) / MR * MR : 0;
        if (first < rows)
            tile_rows(rows - first, columns - j < NR ? columns - j : NR, depth, 1, a + first * rs, rs, 1, b,
                      s + first * STRIDE + j, STRIDE, TILE_STORE);
    }
}

/* c (rows, width) = or += alpha · s · b, s (rows, depth). */
static void multiply_weighted(int64_t rows, int64_t depth, int64_t ahead, int64_t width, float alpha, const float *s,
                              const float *b, int64_t panel, float *c, enum tile_mode mode)
{
    for (int64_t j = 0; j < width; j += NR, b += panel)
        for (int64_t i = 0; i < rows; i += MR) {
            const int64_t group = rows - i < MR ? rows - i : MR, seen = ahead + i + group;
            if (seen > 0 || mode == TILE_STORE)
                tile_rows(group, NR, seen < depth ? seen : depth, alpha, s + i * STRIDE, STRIDE, 1, b,
                          c + i * width + j, width, mode);
        }
}

/* c (columns, width) += sᵀ · b, s (rows, columns). A strip of s is used for all of b before the next, both in the first-level cache. */
static void multiply_turned(int64_t rows, int64_t columns, int64_t ahead, int64_t width, const float *s, const float *b,
                            float *c)
{
    for (int64_t u = 0; u < columns; u += MR) {
        const int64_t first = u > ahead ? u - ahead : 0, group = columns - u < MR ? columns - u : MR;
        for (int64_t j = 0; first < rows && j < width; j += NR)
            tile_rows(group, NR, rows - first, 1, s + first * STRIDE + u, 1, STRIDE, b + j * rows + first * NR,
                      c + u * width + j, width, TILE_ADD);
    }
}

/* Row r of a block at (query, key): the keys that it may see, of `keys`. */
static inline int64_t visible(int64_t query, int64_t key, int64_t keys)
{
    const int64_t count = query - key + 1;
    return count < 0 ? 0 : count < keys ? count : keys;
}

/* A row's columns that the products read: what it sees, and what others of its tile do. */
static inline int64_t readable(int64_t row, int64_t ahead, int64_t keys)
{
    const int64_t seen = ahead + row + MR;
    return seen < 0 ? 0 : seen < keys ? seen : keys;
}

/* exp(s − top) in place over the visible part, zero up to `keys`; returns the sum. */
static inline float exp_row(float *s, int64_t count, int64_t keys, float top)
{
    vf sum = {0};
    int64_t u = 0;
    for (; u + VN <= count; u += VN) {
        const vf e = vf_exp(vf_load(s + u) - top);
        vf_store(s + u, e);
        sum += e;
    }
    float total = vf_sum(sum);
    if (u < count) {
        const vf e = vf_exp(vf_get(s + u, count - u) - top);
        vf_put(s + u, e, count - u);
        for (int64_t i = 0; i < count - u; i++)
            total += e[i];
    }
    memset(s + count, 0, (size_t)(keys - count) * sizeof *s);
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

/* Online softmax of a block of scores: makes them probabilities relative to the running maximum, and corrects what the
 * earlier key blocks left in `sum` and `o`. */
static void softmax_block(float *s, int64_t queries, int64_t keys, int64_t query, int64_t key, float *top, float *sum,
                          float *o, int64_t width)
{
    for (int64_t r = 0; r < queries; r++) {
        float *row = s + r * STRIDE;
        const int64_t count = visible(query + r, key, keys);
        const float before = top[r], here = largest_of(row, count);
        const float now = here > before ? here : before;
        const float total = exp_row(row, count, readable(r, query - key, keys), now);
        const float correction = key > 0 ? expf(before - now) : 0;
        sum[r] = key > 0 ? sum[r] * correction + total : total;
        top[r] = now;
        for (int64_t d = 0; key > 0 && correction != 1 && d < width; d += VN)
            vf_store(o + r * width + d, vf_load(o + r * width + d) * correction);
    }
}

static void head_forward(const struct head *head, float *scratch, struct values o, int64_t stride, float *lse)
{
    const int64_t T = head->T, D = head->D;
    const int64_t columns = (T + NR - 1) / NR * head->column_panel;
    float *keys_panels = scratch, *value_panels = keys_panels + columns, *q = value_panels + T * head->width,
          *s = q + QUERIES * head->width, *block = s + QUERIES * STRIDE, *top = block + QUERIES * head->width,
          *sum = top + QUERIES;
    pack_keys(head, head->k, value_panels, keys_panels); /* the values come after */
    pack_rows(head->v, T, head->stride, D, value_panels);
    for (int64_t query = 0; query < T; query += QUERIES) {
        const int64_t queries = T - query < QUERIES ? T - query : QUERIES, end = query + queries;
        for (int64_t r = 0; r < queries; r++) {
            expect_row(values_from(head->q, (query + r + ROWS_AHEAD) * head->stride), D);
            load_row(head, values_from(head->q, (query + r) * head->stride), query + r, head->scale, q + r * D);
            top[r] = -INFINITY;
        }
        for (int64_t key = 0; key < end; key += KEYS) {
            const int64_t keys = end - key < KEYS ? end - key : KEYS;
            multiply_scores(queries, keys, query - key, D, q, D, keys_panels + key / NR * head->column_panel,
                            head->column_panel, s);
            softmax_block(s, queries, keys, query, key, top, sum, block, head->width);
            multiply_weighted(queries, keys, query - key, head->width, 1, s, value_panels + key * NR, head->row_panel,
                              block, key > 0 ? TILE_ADD : TILE_STORE);
        }
        for (int64_t r = 0; r < queries; r++) {
            const float inverse = 1.0f / sum[r];
            for (int64_t d = 0; d < D; d += VN)
                values_put(o, (query + r) * stride + d, vf_load(block + r * head->width + d) * inverse, D - d);
            lse[query + r] = top[r] + logf(sum[r]);
        }
    }
}

void ISA(attention)(struct program *program, const struct node *node)
{
    const int64_t T = node->dims.context, H = node->dims.heads, D = node->dims.head_dim;
    const int64_t stride = cpu_stride(program, node->output[0]);
    const struct values o = values_output(program, node, 0);
    float *lse = cpu_output(program, node, 1);
    if (o.narrow && values_input(program, node, 0).narrow) {
        ISA(attention_bf16)(program, node);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t pair = 0; pair < node->dims.batch * H; pair++) {
        const struct head head = head_of(program, node, node->input[0], node->input[1], pair);
        head_forward(&head, program->scratch + (size_t)omp_get_thread_num() * program->scratch_stride,
                     values_from(o, pair / H * T * stride + pair % H * D), stride, lse + pair * T);
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

/* p = exp(s − lse), ds = p · (dp − delta), zero where masked. s becomes p, dp becomes ds. */
static void gradient_block(float *s, float *dp, int64_t queries, int64_t keys, int64_t query, int64_t key,
                           const float *lse, const float *delta)
{
    for (int64_t r = 0; r < queries; r++) {
        float *p = s + r * STRIDE, *ds = dp + r * STRIDE;
        const int64_t count = visible(query + r, key, keys), read = readable(r, query - key, keys);
        for (int64_t u = 0; u < count; u += VN) {
            const int64_t n = count - u;
            const vf e = vf_exp(vf_get(p + u, n) - lse[query + r]);
            vf_put(p + u, e, n);
            vf_put(ds + u, e * (vf_get(ds + u, n) - delta[query + r]), n);
        }
        memset(p + count, 0, (size_t)(read - count) * sizeof *p);
        memset(ds + count, 0, (size_t)(read - count) * sizeof *ds);
    }
}

/* With P = softmax(S), S = scale·Q Kᵀ:  dV = Pᵀ dO,  dP = dO Vᵀ,  delta = rowsum(dO ∘ O),  dS = P ∘ (dP − delta),
 * dQ = scale·dS K,  dK = scale·dSᵀ Q. */
static void head_backward(const struct head *head, const struct head_gradient *g, float *scratch)
{
    const int64_t T = head->T, D = head->D, width = head->width;
    const int64_t columns = (T + NR - 1) / NR * head->column_panel;
    float *key_columns = scratch, *value_columns = key_columns + columns, *key_rows = value_columns + columns,
          *dk = key_rows + T * width, *dv = dk + T * width, *s = dv + T * width, *dp = s + QUERIES * STRIDE,
          *q = dp + QUERIES * STRIDE, *q_panels = q + QUERIES * width, *do_panels = q_panels + QUERIES * width,
          *dq = do_panels + QUERIES * width, *do_room = dq + QUERIES * width;
    int64_t apart;
    pack_keys(head, head->k, dk, key_columns); /* dk holds the turned rows for a moment */
    pack_rows(values_of_floats(dk), T, width, D, key_rows);
    const float *values = values_wide(head->v, T, D, head->stride, dv, &apart);
    pack_b(values, 1, apart, D, T, value_columns);
    memset(dk, 0, (size_t)(2 * T * width) * sizeof *dk);

    for (int64_t query = 0; query < T; query += QUERIES) {
        const int64_t queries = T - query < QUERIES ? T - query : QUERIES, end = query + queries;
        const struct values o = values_from(g->o, query * g->o_stride);
        const float *d_o =
            values_wide(values_from(g->d_o, query * g->o_stride), queries, D, g->o_stride, do_room, &apart);
        for (int64_t r = 0; r < queries; r++) {
            expect_row(values_from(head->q, (query + r + ROWS_AHEAD) * head->stride), D);
            expect_row(values_from(g->d_o, (query + r + ROWS_AHEAD) * g->o_stride), D);
            expect_row(values_from(o, (r + ROWS_AHEAD) * g->o_stride), D);
            load_row(head, values_from(head->q, (query + r) * head->stride), query + r, head->scale, q + r * width);
            vf sum = {0};
            for (int64_t d = 0; d < D; d += VN)
                sum += vf_get(d_o + r * apart + d, D - d) * values_get(o, r * g->o_stride + d, D - d);
            // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): every gradient has its delta
            g->delta[query + r] = vf_sum(sum);
        }
        pack_rows(values_of_floats(q), queries, width, D, q_panels);
        pack_rows(values_of_floats(d_o), queries, apart, D, do_panels);
        for (int64_t key = 0; key < end; key += KEYS) {
            const int64_t keys = end - key < KEYS ? end - key : KEYS;
            const int64_t first = key / NR * head->column_panel;
            multiply_scores(queries, keys, query - key, D, q, width, key_columns + first, head->column_panel, s);
            multiply_scores(queries, keys, query - key, D, d_o, apart, value_columns + first, head->column_panel, dp);
            gradient_block(s, dp, queries, keys, query, key, g->lse, g->delta);
            multiply_turned(queries, keys, query - key, width, s, do_panels, dv + key * width);
            multiply_turned(queries, keys, query - key, width, dp, q_panels, dk + key * width);
            multiply_weighted(queries, keys, query - key, width, head->scale, dp, key_rows + key * NR, head->row_panel,
                              dq, key > 0 ? TILE_ADD : TILE_STORE);
        }
        for (int64_t r = 0; r < queries; r++)
            store_row(head, dq + r * width, query + r, values_from(g->dq, (query + r) * g->stride));
    }
    for (int64_t t = 0; t < T; t++) {
        store_row(head, dk + t * width, t, values_from(g->dk, t * g->stride));
        values_rows_put(values_from(g->dv, t * g->stride), dv + t * width, 1, D, D);
    }
}

void ISA(attention_backward)(struct program *program, const struct node *node)
{
    const int64_t T = node->dims.context, H = node->dims.heads, D = node->dims.head_dim;
    const int64_t o_stride = cpu_stride(program, node->input[2]), stride = cpu_stride(program, node->output[0]);
    const struct values d_o = values_input(program, node, 0), o = values_input(program, node, 2),
                        dqkv = values_output(program, node, 0);
    const float *lse = cpu_input(program, node, 3);
    float *delta = cpu_output(program, node, 1);
    if (d_o.narrow && values_input(program, node, 1).narrow && o.narrow && dqkv.narrow) {
        ISA(attention_backward_bf16)(program, node);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t pair = 0; pair < node->dims.batch * H; pair++) {
        const struct head head = head_of(program, node, node->input[1], node->input[4], pair);
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
        head_backward(&head, &gradient, program->scratch + (size_t)omp_get_thread_num() * program->scratch_stride);
    }
}
