// SPDX-License-Identifier: MIT
//
// Timers in a program without exceptions and without RTTI, as Asio supports them: the program says
// what becomes of what would be thrown.

#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "this is to be compiled without exceptions and without RTTI"
#endif

#include <kestrel/kestrel.hpp>
#include <kestrel/testing.hpp>

#include <asio/bind_executor.hpp>
#include <asio/io_context.hpp>
#include <asio/strand.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

template <class Exception>
void asio::detail::throw_exception(const Exception& e) {
  std::puts(e.what());
  std::abort();
}

namespace {

using namespace std::chrono_literals;

int failures = 0;

void check(bool condition, const char* what) {
  if (!condition) {
    std::printf("failed: %s\n", what);
    ++failures;
  }
}

template <class Wheel>
void run_wheel() {
  asio::io_context io;
  kestrel::testing::virtual_time time(io);
  Wheel wheel(io);
  int fired = 0;
  const kestrel::timer_id cancelled = wheel.schedule_after(1s, [&] { check(false, "cancel"); });
  const kestrel::timer_id postponed = wheel.schedule_after(1s, [&] { ++fired; });
  const kestrel::timer_id periodic = wheel.schedule_every(1s, 1s, [&] { ++fired; });
  wheel.schedule_after(1s, asio::bind_executor(asio::make_strand(io), [&] { ++fired; }));
  check(wheel.cancel(cancelled) && !wheel.cancel(cancelled), "cancel");
  check(wheel.postpone(postponed, 1h), "postpone");

  std::vector<kestrel::timer_task> tasks;
  tasks.push_back(kestrel::timer_task::one_shot(1s, [&] { ++fired; }));
  tasks.push_back(kestrel::timer_task::one_shot(1s));
  kestrel::batch_handle batch = wheel.schedule(tasks);
  batch[1].async_wait([&](asio::error_code ec, kestrel::completion c) {
    check(!ec && c == kestrel::completion::fired, "async_wait");
    ++fired;
  });
  wheel.async_wait_after(1s, [&](asio::error_code ec) {
    check(!ec, "async_wait_after");
    ++fired;
  });

  time.advance(10s);
  check(fired == 14, "what fired");
  check(wheel.cancel(periodic) && wheel.size() == 1, "what is left");
}

void run_service() {
  asio::io_context io;
  kestrel::testing::virtual_time time(io);
  kestrel::timer_wheel wheel(io);
  kestrel::timer_service service(wheel, {.capacity = 1});
  const kestrel::timer_id id = service.schedule_after(1s);
  bool received = false;
  service.async_receive([&](asio::error_code ec, const kestrel::timer_notification& n) {
    received = !ec && n.id == id;
  });
  time.advance(1s);
  check(received, "async_receive");
  service.shutdown();
}

void run_steady_timer() {
  asio::io_context io;
  kestrel::testing::virtual_time time(io);
  kestrel::steady_timer timer(io, 1h);
  int aborted = 0;
  timer.async_wait(kestrel::cancel_after(
      1s, [&](asio::error_code ec) { aborted += ec == asio::error::operation_aborted; }));
  timer.async_wait([&](asio::error_code ec) { aborted += ec == asio::error::operation_aborted; });
  time.advance(10s);
  check(aborted == 1, "cancel_after");
  check(timer.cancel() == 1, "cancel of a steady_timer");
  time.advance(0s);
  check(aborted == 2, "the wait that was cancelled");
}

/// On the clock on the wall, through the driver's own timer.
void run_for_real() {
  asio::io_context io;
  kestrel::timer_wheel wheel(io);
  bool fired = false;
  wheel.schedule_after(20ms, [&] { fired = true; });
  io.run();
  check(fired, "run");
}

} // namespace

int main() {
  run_wheel<kestrel::timer_wheel>();
  run_wheel<kestrel::single_threaded_timer_wheel>();
  run_service();
  run_steady_timer();
  run_for_real();
  return failures == 0 ? 0 : 1;
}
