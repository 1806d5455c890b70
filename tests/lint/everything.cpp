// SPDX-License-Identifier: MIT
//
// What cmake/lint.cmake analyses: every header, with each of the main templates instantiated and
// used once, since an analyser looks at no body that nobody needs. It is never linked, nor run.

#include <kestrel/kestrel.hpp>
#include <kestrel/testing.hpp>

#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

template class kestrel::wheel<int>;
template class kestrel::wheel<std::string, kestrel::dynamic_geometry>;
template class kestrel::basic_timer_wheel<>;
template class kestrel::basic_timer_wheel<asio::any_io_executor,
                                          kestrel::single_threaded_coarse_wheel_traits>;
template class kestrel::basic_timer_wheel<asio::io_context::executor_type>;
template class kestrel::basic_timer_handle<std::chrono::steady_clock>;
template class kestrel::basic_scoped_timer<std::chrono::steady_clock>;
template class kestrel::basic_batch_handle<std::chrono::steady_clock>;
template class kestrel::basic_timer_service<>;
template class kestrel::basic_wheel_timer<std::chrono::steady_clock>;

namespace {

template <class Payload, class Geometry>
void step(kestrel::wheel<Payload, Geometry>& wheel, Payload payload) {
  wheel.reserve(100);
  const kestrel::timer_id id = wheel.insert(300, payload);
  wheel.insert_at(7'000, std::move(payload));
  wheel.postpone(id, 600);
  wheel.postpone_at(id, 20, [](Payload& p) { p = {}; });
  wheel.advance(5'000, [&](kestrel::timer_id, Payload& p) { wheel.insert(1, std::move(p)); });
  wheel.cancel(id);
  if (wheel.next_expiry() && wheel.expiry(id) && wheel.get(id) != nullptr)
    wheel.clear();
  static_cast<void>(wheel.check_invariants());
}

void wheels() {
  kestrel::wheel<int> numbers;
  step(numbers, 7);
  kestrel::wheel<std::string, kestrel::dynamic_geometry> words;
  step(words, std::string("seven"));
}

template <class Wheel>
void callbacks(asio::io_context& io, Wheel& wheel) {
  const kestrel::timer_id id = wheel.schedule_after(30s, [] {});
  wheel.schedule_at(wheel.now() + 1s, [](kestrel::timer_id) {});
  wheel.schedule_every(5s, 1s, [](kestrel::timer_id, std::uint64_t missed) { return missed; });
  wheel.schedule_after(1s, std::function<void()>([] {}));
  wheel.schedule_after(1s, [name = std::string("moved")] { return name.size(); });
  wheel.schedule_after(1s, [large = std::vector<std::byte>(100), more = std::string("on the heap"),
                            most = std::string()] { return large.size(); });
  wheel.schedule_after(1s, asio::bind_executor(asio::make_strand(io), [] {}));
  wheel.schedule_after(1s, []() -> asio::awaitable<void> { co_return; });

  asio::cancellation_signal signal;
  wheel.schedule_after(1s, asio::bind_cancellation_slot(signal.slot(), [] {}));
  signal.emit(asio::cancellation_type::all);

  wheel.postpone(id, 10s);
  wheel.postpone(id, 10s, [] {});
  wheel.postpone_at(id, wheel.now() + 10s);
  wheel.postpone_at(id, wheel.now() + 10s, [] {});
  wheel.cancel(id);
}

template <class Wheel>
void batches(Wheel& wheel) {
  std::vector<kestrel::timer_task> tasks;
  tasks.push_back(kestrel::timer_task::one_shot(10ms, [] {}));
  tasks.push_back(kestrel::timer_task::periodic(10ms, 20ms, [](kestrel::timer_id) {}));
  std::vector<kestrel::timer_slot> slots = wheel.allocate(tasks.size());
  const auto batch = wheel.schedule(slots, tasks);
  for (const auto& timer : batch)
    static_cast<void>(timer.expiry());
  batch.postpone_all(1s);
  batch.postpone_each({1s, 2s});
  batch.postpone_each({1s, 2s}, std::vector<std::function<void()>>{[] {}, [] {}});
  wheel.postpone({std::pair(batch.ids()[0], 1s)});
  wheel.cancel(batch.ids());
  batch.cancel_all();
}

template <class Wheel>
asio::awaitable<void> waits(Wheel& wheel) {
  auto handle = wheel.schedule(kestrel::timer_task::one_shot(10ms, [] {}));
  const auto copy = handle;
  wheel.async_wait(handle.id(), [](asio::error_code, kestrel::completion) {});
  const kestrel::completion what = co_await handle.async_wait(asio::use_awaitable);
  if (what == kestrel::completion::fired && !copy.try_wait())
    co_await wheel.async_wait_after(10ms, asio::use_awaitable);
  const kestrel::scoped_timer scoped(handle);
}

asio::awaitable<void> services(kestrel::timer_wheel& wheel) {
  kestrel::timer_service service{wheel, {.capacity = 10}};
  const kestrel::timer_id id = service.schedule_after(10ms);
  service.schedule_every(10ms, 10ms, [] {});
  service.postpone(id, 20ms);
  const kestrel::timer_notification told = co_await service.async_receive(asio::use_awaitable);
  service.cancel(told.id);
  service.shutdown();
}

asio::awaitable<void> steady_timers(asio::io_context& io) {
  kestrel::use_wheel(io, kestrel::wheel_config::network_timeouts());
  kestrel::steady_timer timer{io, 10ms};
  co_await timer.async_wait(asio::use_awaitable);
  timer.expires_after(20ms);
  timer.async_wait([](asio::error_code) {});
  timer.async_wait(asio::bind_executor(asio::make_strand(io), [](asio::error_code) {}));
  timer.cancel_one();
  kestrel::steady_timer moved(std::move(timer));
  moved.expires_at(moved.expiry() + 1s);
  moved.wait();
}

template <class Wheel>
asio::awaitable<void> timeouts(asio::io_context& io, Wheel& wheel) {
  asio::steady_timer slow{io, 1h};
  kestrel::steady_timer lent{io};
  co_await slow.async_wait(kestrel::cancel_after(1s, asio::use_awaitable));
  co_await slow.async_wait(kestrel::cancel_after(wheel, 1s, asio::use_awaitable));
  co_await slow.async_wait(kestrel::cancel_after(lent, 1s, asio::use_awaitable));
  slow.async_wait(kestrel::cancel_at(wheel, wheel.now() + 1s, asio::use_future)).get();
}

} // namespace

int main() {
  wheels();

  asio::io_context io;
  kestrel::testing::virtual_time time{io};
  kestrel::timer_wheel wheel{io, kestrel::wheel_config::heartbeats()};
  callbacks(io, wheel);
  batches(wheel);
  asio::co_spawn(io, waits(wheel), asio::detached);
  asio::co_spawn(io, services(wheel), asio::detached);
  asio::co_spawn(io, steady_timers(io), asio::detached);
  asio::co_spawn(io, timeouts(io, wheel), asio::detached);

  kestrel::single_threaded_coarse_timer_wheel coarse{io};
  callbacks(io, coarse);
  batches(coarse);

  time.advance(8h);
  while (time.advance_to_next())
    wheel.shutdown();
}
