// Leaves of a folder at every level: includes the file that POSENC_DETAIL_LEAVES names once within the namespace and
// the region of each level that this program has. Outside of all namespaces but posenc's, behind simd/dispatch.hpp:
//
//   #define POSENC_DETAIL_LEAVES "posenc/lab/leaves.inl"
//   #include <posenc/simd/every_level.inl>

namespace simd {

namespace scalar {
#include POSENC_DETAIL_LEAVES
}
#if defined(POSENC_DETAIL_LEVEL_AVX2)
namespace avx2 {
POSENC_REGION_BEGIN("avx2,fma,f16c")
#include POSENC_DETAIL_LEAVES
POSENC_REGION_END
}  // namespace avx2
#endif
#if defined(POSENC_DETAIL_LEVEL_AVX512)
namespace avx512 {
POSENC_REGION_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#include POSENC_DETAIL_LEAVES
POSENC_REGION_END
}  // namespace avx512
#endif
#if defined(POSENC_DETAIL_LEVEL_NEON)
namespace neon {
#include POSENC_DETAIL_LEAVES
}
#endif

}  // namespace simd

#undef POSENC_DETAIL_LEAVES
