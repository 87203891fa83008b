/* What every shader of this folder shares. Operands are addresses in the push constants, so there are no descriptors; a kernel's
 * sizes are push constants as well, and specialisation constants beside them where the program is compiled for its shapes: then
 * SIZE(i) is a constant. Built twice, plainly and with NARROW = 1 for operands in bf16. */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#if NARROW
#extension GL_EXT_shader_16bit_storage : require
#endif

layout(local_size_x_id = 20) in;

layout(push_constant) uniform Push
{
    uvec2 a[8]; /* addresses; (0, 0) is none */
    uint d[16]; /* sizes, and floats by their bits */
} push;

layout(constant_id = 0) const uint S0 = 0;
layout(constant_id = 1) const uint S1 = 0;
layout(constant_id = 2) const uint S2 = 0;
layout(constant_id = 3) const uint S3 = 0;
layout(constant_id = 4) const uint S4 = 0;
layout(constant_id = 5) const uint S5 = 0;
layout(constant_id = 6) const uint S6 = 0;
layout(constant_id = 7) const uint S7 = 0;
#define SIZE(i) (S##i != 0 ? S##i : push.d[i])
#define FLOAT(i) uintBitsToFloat(push.d[i])

/* What each shader makes of these, it says at its head. TYPES: bit i is set where operand i is bf16. */
layout(constant_id = 12) const uint V0 = 1;
layout(constant_id = 13) const uint V1 = 1;
layout(constant_id = 14) const uint V2 = 1;
layout(constant_id = 15) const uint V3 = 1;
layout(constant_id = 16) const uint V4 = 1;
layout(constant_id = 17) const uint V5 = 1;
layout(constant_id = 18) const uint V6 = 1;
layout(constant_id = 19) const uint TYPES = 0;
layout(constant_id = 20) const uint THREADS = 1;

layout(buffer_reference, std430, buffer_reference_align = 4) buffer Floats { float v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer Floats4 { vec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer Ints { int v[]; };
#if NARROW
layout(buffer_reference, std430, buffer_reference_align = 2) buffer Halves { uint16_t v[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) buffer Halves4 { uvec2 v[]; };

/* To the nearest bf16, ties to even. */
uint bf16_from(float value)
{
    uint bits = floatBitsToUint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return bits >> 16 | 0x40u;
    return bits + 0x7fffu + (bits >> 16 & 1u) >> 16;
}
#endif
#define IS_BF16(operand) ((TYPES >> (operand) & 1u) != 0u)

bool given(uvec2 address)
{
    return (address.x | address.y) != 0u;
}

float load1(uvec2 address, uint i, bool bf16)
{
#if NARROW
    if (bf16)
        return uintBitsToFloat(uint(Halves(address).v[i]) << 16);
#endif
    return Floats(address).v[i];
}

/* Four from element i on, a multiple of 4. */
vec4 load4(uvec2 address, uint i, bool bf16)
{
#if NARROW
    if (bf16) {
        uvec2 two = Halves4(address).v[i / 4];
        return uintBitsToFloat(uvec4(two.x << 16, two.x & 0xffff0000u, two.y << 16, two.y & 0xffff0000u));
    }
#endif
    return Floats4(address).v[i / 4];
}

void store1(uvec2 address, uint i, float value, bool bf16)
{
#if NARROW
    if (bf16) {
        Halves(address).v[i] = uint16_t(bf16_from(value));
        return;
    }
#endif
    Floats(address).v[i] = value;
}

void store4(uvec2 address, uint i, vec4 value, bool bf16)
{
#if NARROW
    if (bf16) {
        Halves4(address).v[i / 4] = uvec2(bf16_from(value.x) | bf16_from(value.y) << 16,
                                          bf16_from(value.z) | bf16_from(value.w) << 16);
        return;
    }
#endif
    Floats4(address).v[i / 4] = value;
}

/* The workgroup's number in a grid that is two-dimensional only because one dimension would be too long. */
uint group_index()
{
    return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
}

shared float group_parts[128];

/* Over all invocations of the workgroup, in an order that depends on the subgroup's size alone. */
float group_sum(float value)
{
    float own = subgroupAdd(value), total = 0.0;
    barrier(); /* whoever still reads the last sum's parts */
    if (subgroupElect())
        group_parts[gl_SubgroupID] = own;
    barrier();
    for (uint i = 0; i < gl_NumSubgroups; ++i)
        total += group_parts[i];
    return total;
}

float group_max(float value)
{
    float own = subgroupMax(value), top;
    barrier();
    if (subgroupElect())
        group_parts[gl_SubgroupID] = own;
    barrier();
    top = group_parts[0];
    for (uint i = 1; i < gl_NumSubgroups; ++i)
        top = max(top, group_parts[i]);
    return top;
}

/* eˣ to fp32's own precision on every device: their exp may be 3 + 2|x| units off. */
float exact_exp(float x)
{
    float k = round(clamp(x, -104.0, 89.0) * 1.44269504);
    float r = fma(k, -0.693359375, clamp(x, -104.0, 89.0));
    r = fma(k, 2.12194440e-4, r);
    float p = fma(r, 1.3888889e-3, 8.3333333e-3);
    p = fma(p, r, 4.1666667e-2);
    p = fma(p, r, 1.6666667e-1);
    p = fma(p, r, 0.5);
    p = fma(p, r, 1.0);
    p = fma(p, r, 1.0);
    int whole = int(k), half_way = whole / 2; /* in two steps: the result may be a subnormal number */
    p *= uintBitsToFloat(uint(half_way + 127) << 23);
    p *= uintBitsToFloat(uint(whole - half_way + 127) << 23);
    return isnan(x) ? x : p;
}

/* The natural logarithm of a normal x > 0 within two units. */
float exact_log(float x)
{
    uint bits = floatBitsToUint(x);
    int power = int(bits >> 23) - 127;
    float m = uintBitsToFloat(bits & 0x7fffffu | 0x3f800000u); /* [1, 2) */
    if (m > 1.41421356) {
        m *= 0.5;
        ++power;
    }
    float s = (m - 1.0) / (m + 1.0), z = s * s; /* ln m = 2·atanh s, |s| < 0.172 */
    float p = fma(z, 0.22222222, 0.28571429);
    p = fma(p, z, 0.4);
    p = fma(p, z, 0.66666667);
    return fma(float(power), 0.693359375, fma(float(power), -2.12194440e-4, fma(p * z, s, 2.0 * s)));
}
