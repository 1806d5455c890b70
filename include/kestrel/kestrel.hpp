// SPDX-License-Identifier: MIT
//
// All of Kestrel, but for testing.hpp.

#ifndef KESTREL_KESTREL_HPP
#define KESTREL_KESTREL_HPP

#include <kestrel/batch_handle.hpp>
#include <kestrel/cancel_after.hpp>
#include <kestrel/coarse_steady_clock.hpp>
#include <kestrel/completion.hpp>
#include <kestrel/error.hpp>
#include <kestrel/lateness_histogram.hpp>
#include <kestrel/missed_periods.hpp>
#include <kestrel/slot_arena.hpp>
#include <kestrel/steady_timer.hpp>
#include <kestrel/timer_handle.hpp>
#include <kestrel/timer_id.hpp>
#include <kestrel/timer_notification.hpp>
#include <kestrel/timer_service.hpp>
#include <kestrel/timer_slot.hpp>
#include <kestrel/timer_task.hpp>
#include <kestrel/timer_wheel.hpp>
#include <kestrel/timer_wheel_stats.hpp>
#include <kestrel/use_wheel.hpp>
#include <kestrel/version.hpp>
#include <kestrel/wheel.hpp>
#include <kestrel/wheel_config.hpp>
#include <kestrel/wheel_occupancy.hpp>

/// @namespace kestrel
/// Timers by the hundred thousand. `kestrel::wheel` and what it is made of need no Asio.

#endif // KESTREL_KESTREL_HPP
