/* What the forward and the backward pass of fused attention share. 128 invocations, 8 groups of rows by 16 groups of columns: an
 * invocation's rows are OWN/8 in a row, its columns of a tile of scores every 16th, of a head every 16th four.
 * V1: head size D; V2, V3: rows of the own tile and of the walked ones; V4: heads; V5: 1 where accesses of four fit.
 * SIZE(0): context; SIZE(1): row stride of qkv; SIZE(2): of o or do; SIZE(3): of dqkv; d[8]: scale. */
#define D V1
#define OWN V2
#define WALK V3
#define HEADS V4
const uint FOURS = (V1 + 3) / 4;      /* accesses of a row */
const uint STRIDE = (V1 + 3) / 4 + 1; /* of a row in shared memory, in fours */
const uint ROWS = V2 / 8;             /* an invocation's */
const uint COLUMNS = (V3 + 15) / 16;
const uint PIECES = ((V1 + 3) / 4 + 15) / 16;

#define QKV 0
#define TABLE 1
#define OUT 2
#define LSE 3

uint sequence, head; /* which this workgroup works on */

/* Columns 4·four … of row t; q and k are turned by their position's angle where there is a table. */
vec4 fetch(uint operand, uint t, uint stride, uint first, uint four, bool turned)
{
    vec4 x = vec4(0.0);
    if (t >= SIZE(0))
        return x;
    uint at = (sequence * SIZE(0) + t) * stride + first + four * 4;
    if (V5 == 1) {
        x = load4(push.a[operand], at, IS_BF16(operand));
    } else {
        [[unroll]] for (uint i = 0; i < 4; ++i)
            if (four * 4 + i < D)
                x[i] = load1(push.a[operand], at + i, IS_BF16(operand));
    }
    if (turned && given(push.a[TABLE])) {
        vec4 turn = vec4(1.0, 0.0, 1.0, 0.0);
        [[unroll]] for (uint i = 0; i < 4; ++i)
            if (four * 4 + i < D)
                turn[i] = load1(push.a[TABLE], t * D + four * 4 + i, false);
        x = vec4(x.x * turn.x - x.y * turn.y, x.x * turn.y + x.y * turn.x, x.z * turn.z - x.w * turn.w,
                 x.z * turn.w + x.w * turn.z);
    }
    return x;
}

void put(uint operand, uint t, uint stride, uint first, uint four, vec4 x, bool turned_back)
{
    if (turned_back && given(push.a[TABLE])) {
        vec4 turn = vec4(1.0, 0.0, 1.0, 0.0);
        [[unroll]] for (uint i = 0; i < 4; ++i)
            if (four * 4 + i < D)
                turn[i] = load1(push.a[TABLE], t * D + four * 4 + i, false);
        x = vec4(x.x * turn.x + x.y * turn.y, x.y * turn.x - x.x * turn.y, x.z * turn.z + x.w * turn.w,
                 x.w * turn.z - x.z * turn.w);
    }
    uint at = (sequence * SIZE(0) + t) * stride + first + four * 4;
    if (V5 == 1) {
        store4(push.a[operand], at, x, IS_BF16(operand));
    } else {
        [[unroll]] for (uint i = 0; i < 4; ++i)
            if (four * 4 + i < D)
                store1(push.a[operand], at + i, x[i], IS_BF16(operand));
    }
}

#define TILE(tile, rows, operand, from, stride, first, turned)                                                         \
    for (uint l = gl_LocalInvocationID.x; l < (rows)*FOURS; l += 128)                                                  \
        tile[l / FOURS * STRIDE + l % FOURS] = fetch(operand, (from) + l / FOURS, stride, first, l % FOURS, turned);
