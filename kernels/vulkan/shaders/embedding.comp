/* V0 = 0: x[row] = table[tokens[row]], V1 elements (1 or 4) an invocation. V0 = 1, the gradient: a workgroup of the table's row sums
 * the rows of dx whose token it is, in their order; columns in passes of THREADS·V1. Operands tokens, x or dx, table or dtable.
 * SIZE(0): rows; SIZE(1): columns; SIZE(2): vocabulary. */
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

#define X 1
#define TABLE 2

shared uint hits[THREADS];
shared uint any_hit;

void gather()
{
    uint i = (group_index() * THREADS + gl_LocalInvocationID.x) * V1, columns = SIZE(1);
    if (i >= SIZE(0) * columns)
        return;
    uint row = i / columns, column = i - row * columns;
    uint from = uint(Ints(push.a[0]).v[row]) * columns + column;
    if (V1 == 4)
        store4(push.a[X], i, load4(push.a[TABLE], from, false), IS_BF16(X));
    else
        store1(push.a[X], i, load1(push.a[TABLE], from, false), IS_BF16(X));
}

void scatter()
{
    uint token = group_index(), own = gl_LocalInvocationID.x, rows = SIZE(0), columns = SIZE(1);
    if (token >= SIZE(2))
        return;
    for (uint pass = 0; pass < columns; pass += THREADS * V1) {
        uint column = pass + own * V1;
        vec4 sum = vec4(0.0);
        for (uint first = 0; first < rows; first += THREADS) {
            bool hit = first + own < rows && uint(Ints(push.a[0]).v[first + own]) == token;
            barrier();
            if (own == 0)
                any_hit = 0;
            hits[own] = hit ? 1 : 0;
            barrier();
            if (hit)
                any_hit = 1;
            barrier();
            if (any_hit != 0 && column < columns)
                for (uint i = 0; i < THREADS; ++i)
                    if (hits[i] != 0) {
                        uint at = (first + i) * columns + column;
                        sum += V1 == 4 ? load4(push.a[X], at, IS_BF16(X)) : vec4(load1(push.a[X], at, IS_BF16(X)));
                    }
        }
        if (column < columns) {
            if (V1 == 4)
                store4(push.a[TABLE], token * columns + column, sum, false);
            else
                store1(push.a[TABLE], token * columns + column, sum.x, false);
        }
    }
}

void main()
{
    if (V0 == 0)
        gather();
    else
        scatter();
}
