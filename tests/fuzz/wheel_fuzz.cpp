// SPDX-License-Identifier: MIT
//
// wheel<T> against its model, on operations that a fuzzer makes up: any geometry and start, from
// inside callbacks and destructors, with payloads that throw and memory that runs out.

#include "core/wheel_model.hpp"
#include "fuzz_target.hpp"

void kestrel_tests::fuzz(std::span<const std::byte> bytes) { run_operations(bytes); }
