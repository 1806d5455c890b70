// SPDX-License-Identifier: MIT
//
// All of Kestrel.

#ifndef KESTREL_KESTREL_HPP
#define KESTREL_KESTREL_HPP

#include <kestrel/error.hpp>
#include <kestrel/slot_arena.hpp>
#include <kestrel/timer_id.hpp>
#include <kestrel/timer_wheel.hpp>
#include <kestrel/version.hpp>
#include <kestrel/wheel.hpp>
#include <kestrel/wheel_config.hpp>

#endif // KESTREL_KESTREL_HPP
