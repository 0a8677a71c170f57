// Torch boundary: operators of the target's namespace (STC_NAMESPACE), and their kernels for its
// device (STC_DISPATCH_KEY).
#pragma once

#include <torch/csrc/stable/library.h>

// torch's macros paste their arguments: only those of another macro are expanded before.
#define STC_SCHEMAS_OF(ns, m) STABLE_TORCH_LIBRARY(ns, m)
#define STC_KERNELS_OF(ns, key, m) STABLE_TORCH_LIBRARY_IMPL(ns, key, m)

// STC_SCHEMAS(m) { m.def(...); }
#define STC_SCHEMAS(m) STC_SCHEMAS_OF(STC_NAMESPACE, m)

// STC_KERNELS(m) { m.impl("an_operator", stc::kBoxed<stc::an_operator>); }
#define STC_KERNELS(m) STC_KERNELS_OF(STC_NAMESPACE, STC_DISPATCH_KEY, m)
