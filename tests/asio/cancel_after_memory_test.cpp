// SPDX-License-Identifier: MIT
//
// What cancel_after allocates: nothing, once the wheel has grown, whether operations are in time or
// not. Asio allocates nothing for these operations either, on its own threads.

#include "counted_new.hpp"

#include <kestrel/cancel_after.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/error.hpp>
#include <asio/error_code.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <catch.hpp>

#include <chrono>
#include <functional>

using namespace kestrel_tests;
using namespace std::chrono_literals;
using kestrel::cancel_after;

namespace {

constexpr int rounds = 200;

/// How much is allocated while `step`, which goes on to the next one, is called again and again.
/// The first half does not count.
class steps {
public:
  template <class Step>
  long run(asio::io_context& io, Step step) {
    next = [this, step] {
      if (count == rounds / 2)
        before = allocations;
      if (++count != rounds)
        step(*this);
      else
        used = allocations - before;
    };
    asio::post(io, next);
    io.run();
    return used;
  }

  std::function<void()> next;

private:
  int count = 0;
  long before = 0;
  long used = -1;
};

} // namespace

TEST_CASE("An operation that is in time allocates nothing for its timeout", "[memory]") {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  CHECK(steps().run(io, [&](steps& s) { asio::post(io, cancel_after(1h, [&s] { s.next(); })); }) ==
        0);
  io.restart();
  CHECK(steps().run(io, [&](steps& s) {
    asio::post(io, cancel_after(wheel, 1h, [&s] { s.next(); }));
  }) == 0);
}

TEST_CASE("An operation that is cancelled allocates nothing for its timeout", "[memory]") {
  asio::io_context io;
  asio::steady_timer never{io, asio::steady_timer::time_point::max()};
  int aborted = 0;
  CHECK(steps().run(io, [&](steps& s) {
    never.async_wait(cancel_after(0s, [&](asio::error_code ec) {
      aborted += ec == asio::error::operation_aborted;
      s.next();
    }));
  }) == 0);
  CHECK(aborted == rounds - 1);
}
