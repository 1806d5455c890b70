// SPDX-License-Identifier: MIT
//
// What people do with asio::steady_timer beyond the tutorials: timers in containers, composed and
// grouped operations, channels, pools, stackless coroutines, old names, other clocks. Each is done
// with Asio's timer and with Kestrel's, and must tell the same.

#include "completion_tokens.hpp"

#include <kestrel/steady_timer.hpp>

#include <asio/bind_executor.hpp>
#include <asio/compose.hpp>
#include <asio/coroutine.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/channel.hpp>
#include <asio/experimental/parallel_group.hpp>
#include <asio/high_resolution_timer.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/system_timer.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#endif

#include <catch.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace kestrel_tests {
namespace idioms {

using namespace std::chrono_literals;

/// What a program has told, in its order.
using story = std::vector<std::string>;

std::string outcome(const asio::error_code& ec) {
  return ec == asio::error::operation_aborted ? "aborted" : ec ? "failed" : "done";
}

// ---- Timers as values

template <class Timer>
story keeps_timers_in_containers() {
  story told;
  asio::io_context io;
  const auto note = [&](std::string name) {
    return [&told, name](const asio::error_code& ec) { told.push_back(name + ' ' + outcome(ec)); };
  };
  std::vector<Timer> row;
  for (int i = 0; i != 3; ++i) {
    row.emplace_back(io, std::chrono::milliseconds(10 * i)); // moves those there are
    row.back().async_wait(note("row " + std::to_string(i)));
  }
  row.erase(row.begin() + 1);
  std::rotate(row.begin(), row.begin() + 1, row.end());

  std::map<std::string, Timer> by_name;
  by_name.emplace("a", Timer(io, 30ms));
  by_name.try_emplace("b", io, 1h);
  for (auto& [name, timer] : by_name)
    timer.async_wait(note("map " + name));
  by_name.erase("b");

  std::unordered_map<int, std::unique_ptr<Timer>> owned;
  owned[1] = std::make_unique<Timer>(io);
  owned[1]->expires_after(40ms);
  owned[1]->async_wait(note("owned"));

  std::optional<Timer> perhaps;
  perhaps.emplace(io, 1h);
  perhaps->async_wait(note("perhaps"));
  perhaps.reset();

  std::variant<std::monostate, Timer> either;
  either.template emplace<Timer>(io, 50ms).async_wait(note("either"));

  std::list<std::shared_ptr<Timer>> shared{std::make_shared<Timer>(io.get_executor(), 60ms)};
  shared.front()->async_wait([note, t = shared.front()](auto ec) { note("shared")(ec); });
  shared.clear(); // its handler keeps it

  io.run();
  std::sort(told.begin(),
            told.end()); // aborted ones may be told before or after those that are due
  return told;
}

template <class Timer>
story swaps_timers() {
  story told;
  asio::io_context io;
  Timer first(io, 5ms);
  Timer second(io, 1h);
  first.async_wait([&](const asio::error_code& ec) { told.push_back("first " + outcome(ec)); });
  second.async_wait([&](const asio::error_code& ec) { told.push_back("second " + outcome(ec)); });
  using std::swap;
  swap(first, second);
  told.push_back(second.expiry() < first.expiry() ? "swapped" : "not swapped");
  told.push_back(std::to_string(first.cancel()));
  io.run();
  std::sort(told.begin(), told.end());
  return told;
}

// ---- What a timer belongs to

template <class Timer>
story asks_where_it_is() {
  story told;
  asio::io_context io;
  Timer timer(io, 1ms);
  auto& context = static_cast<asio::io_context&>(timer.get_executor().context());
  told.push_back(&context == &io ? "its context" : "another context");
  Timer another(timer.get_executor(), 2ms);
  typename Timer::template rebind_executor<asio::strand<asio::io_context::executor_type>>::other
      on_strand(asio::make_strand(io), 3ms);
  timer.async_wait(asio::bind_executor(on_strand.get_executor(), [&](auto) {
    told.push_back(on_strand.get_executor().running_in_this_thread() ? "on the strand" : "beside");
    another.async_wait([&](auto) {
      told.push_back(on_strand.get_executor().running_in_this_thread() ? "?" : "beside");
      on_strand.async_wait([&](auto) {
        told.push_back(on_strand.get_executor().running_in_this_thread() ? "on it" : "beside");
      });
    });
  }));
  io.run();
  return told;
}

template <class Timer>
story counts_handlers() {
  story told;
  asio::io_context io;
  Timer timer(io, 50ms);
  timer.async_wait([&](auto) { told.push_back("called"); });
  told.push_back(std::to_string(io.poll()));
  told.push_back(std::to_string(io.run_one_for(10s)));
  told.push_back(std::to_string(io.run()));
  io.restart();
  timer.expires_after(1h);
  timer.async_wait(asio::detached);
  told.push_back(std::to_string(io.run_for(5ms)));
  told.push_back(io.stopped() ? "stopped" : "goes on");
  timer.cancel();
  io.run();
  told.push_back(io.stopped() ? "stopped" : "goes on");
  return told;
}

// ---- Operations made of others

/// Completes after so many ticks of the timer, or when that is cancelled.
template <class Timer, class Token>
auto async_tick(Timer& timer, int times, std::chrono::milliseconds every, Token&& token) {
  return asio::async_compose<Token, void(asio::error_code, int)>(
      [&timer, times, every, ticked = 0, started = false](auto& self,
                                                          asio::error_code ec = {}) mutable {
        if (std::exchange(started, true))
          ticked += !ec;
        if (ec || ticked == times)
          return self.complete(ec, ticked);
        timer.expires_after(every);
        timer.async_wait(std::move(self));
      },
      token, timer);
}

template <class Timer>
story composes_operations() {
  story told;
  asio::io_context io;
  Timer timer(io);
  const auto note = [&](const asio::error_code& ec, int ticks) {
    told.push_back(outcome(ec) + " after " + std::to_string(ticks));
  };
  async_tick(timer, 3, 2ms, note);
  io.run();
  io.restart();
  asio::cancellation_signal signal;
  async_tick(timer, 3, 1h, asio::bind_cancellation_slot(signal.slot(), note));
  asio::post(io, [&] { signal.emit(asio::cancellation_type::terminal); });
  io.run();
  io.restart();
  std::future<int> later = async_tick(timer, 2, 1ms, asio::use_future);
  io.run();
  told.push_back(std::to_string(later.get()));
  return told;
}

template <class Timer>
story groups_operations() {
  story told;
  asio::io_context io;
  Timer quick(io, 5ms);
  Timer slow(io, 1h);
  const auto note = [&](std::array<std::size_t, 2> order, asio::error_code a, asio::error_code b) {
    told.push_back(std::to_string(order[0]) + " first, " + outcome(a) + ", " + outcome(b));
  };
  asio::experimental::make_parallel_group(slow.async_wait(deferred), quick.async_wait(deferred))
      .async_wait(asio::experimental::wait_for_one(), note);
  io.run();
  io.restart();
  quick.expires_after(10ms);
  slow.expires_after(5ms);
  asio::experimental::make_parallel_group(quick.async_wait(deferred), slow.async_wait(deferred))
      .async_wait(asio::experimental::wait_for_all(), note);
  io.run();
  return told;
}

template <class Timer>
story sends_into_a_channel() {
  story told;
  asio::io_context io;
  asio::experimental::channel<void(asio::error_code, std::string)> channel(io, 2);
  Timer timer(io, 2ms);
  int beats = 0;
  const std::function<void(asio::error_code)> beat = [&](asio::error_code) {
    if (++beats == 4)
      return channel.close();
    channel.try_send(asio::error_code(), std::string("beat"));
  };
  timer.async_wait(beat);
  const std::function<void(asio::error_code, std::string)> receive = [&](asio::error_code ec,
                                                                         std::string what) {
    told.push_back(ec ? "closed" : what);
    if (ec)
      return;
    channel.async_receive(receive);
    timer.expires_at(timer.expiry() + 2ms);
    timer.async_wait(beat);
  };
  channel.async_receive(receive);
  io.run();
  return told;
}

// ---- Other contexts

template <class Timer>
story waits_on_a_pool() {
  story told;
  asio::thread_pool pool(2);
  Timer timer(pool, 5ms);
  std::future<void> over = timer.async_wait(asio::use_future);
  over.get();
  told.push_back(Timer::clock_type::now() >= timer.expiry() ? "over" : "early");
  timer.expires_after(1h);
  // No exception: what frees it is not compiled with the thread sanitizer.
  asio::error_code result;
  std::future<void> cancelled = timer.async_wait(asio::redirect_error(asio::use_future, result));
  timer.cancel();
  cancelled.get();
  told.push_back(outcome(result));
  Timer on_strand(asio::make_strand(pool), 1ms);
  on_strand.async_wait([&](const asio::error_code& ec) { told.push_back(outcome(ec)); });
  pool.join();
  return told;
}

// ---- Stackless coroutines, old names

#include <asio/yield.hpp>

template <class Timer>
struct blinker : asio::coroutine {
  Timer& timer;
  story& told;

  void operator()(const asio::error_code& ec = {}) {
    reenter(this) {
      while (told.size() != 4 && !ec) {
        told.push_back("on");
        timer.expires_after(1ms);
        yield timer.async_wait(*this);
        told.push_back("off");
        timer.expires_after(1ms);
        yield timer.async_wait(*this);
      }
    }
  }
};

#include <asio/unyield.hpp>

template <class Timer>
story blinks() {
  story told;
  asio::io_context io;
  Timer timer(io);
  blinker<Timer>{{}, timer, told}();
  io.run();
  return told;
}

#if defined(KESTREL_HAS_DEPRECATED)

template <class Timer>
story uses_old_names() {
  story told;
  asio::io_context io;
  Timer timer(io);
  const auto note = [&](const asio::error_code& ec) { told.push_back(outcome(ec)); };
  told.push_back(std::to_string(timer.expires_from_now(1h)));
  timer.async_wait(note);
  told.push_back(timer.expires_from_now() > 59min && timer.expires_from_now() <= 1h ? "1 h" : "?");
  const auto try_to = [&](auto f) {
    asio::error_code ec = asio::error::eof;
    const std::size_t cancelled = f(ec);
    told.push_back(std::to_string(cancelled) + ' ' + outcome(ec));
  };
  try_to([&](auto& ec) { return timer.cancel(ec); });
  timer.async_wait(note);
  try_to([&](auto& ec) { return timer.cancel_one(ec); });
  const auto soon = Timer::clock_type::now() + 5ms;
  try_to([&](auto& ec) { return timer.expires_at(soon, ec); });
  told.push_back(timer.expires_at() == soon ? "soon" : "?");
  timer.async_wait(note);
  try_to([&](auto& ec) { return timer.expires_from_now(1ms, ec); });
  io.poll();
  io.restart();
  timer.async_wait(note);
  io.run();
  return told;
}

#endif

// ---- Coroutines

#if defined(ASIO_HAS_CO_AWAIT)

template <class Timer>
story combines_awaitables() {
  using namespace asio::experimental::awaitable_operators;
  story told;
  asio::io_context io;
  const auto program = [&]() -> asio::awaitable<void> {
    Timer quick(co_await asio::this_coro::executor, 2ms);
    Timer slow(co_await asio::this_coro::executor, 1h);
    const auto first =
        co_await (slow.async_wait(asio::use_awaitable) || quick.async_wait(asio::use_awaitable));
    told.push_back("number " + std::to_string(first.index()));
    slow.expires_after(2ms);
    co_await (slow.async_wait(asio::use_awaitable) && quick.async_wait(asio::use_awaitable));
    told.push_back("both");
    const auto sleep = [](std::chrono::milliseconds d) -> asio::awaitable<int> {
      Timer timer(co_await asio::this_coro::executor);
      timer.expires_after(d);
      co_await timer.async_wait(asio::use_awaitable);
      co_return 42;
    };
    told.push_back(std::to_string(std::get<0>(co_await (sleep(1ms) || sleep(1h)))));
    using by_default = asio::use_awaitable_t<>::as_default_on_t<Timer>;
    by_default timer(co_await asio::this_coro::executor, 1ms);
    co_await timer.async_wait();
    told.push_back(std::to_string(co_await async_tick(quick, 2, 1ms, asio::use_awaitable)));
  };
  asio::co_spawn(io, program(), [](std::exception_ptr e) {
    if (e)
      std::rethrow_exception(e);
  });
  io.run();
  return told;
}

#endif

} // namespace idioms
} // namespace kestrel_tests

#define SAME_WITH(asio_timer, kestrel_timer, idiom, ...)                                           \
  do {                                                                                             \
    const kestrel_tests::idioms::story expected{__VA_ARGS__};                                      \
    CHECK(kestrel_tests::idioms::idiom<asio_timer>() == expected);                                 \
    CHECK(kestrel_tests::idioms::idiom<kestrel_timer>() == expected);                              \
  } while (false)

#define SAME(idiom, ...) SAME_WITH(asio::steady_timer, kestrel::steady_timer, idiom, __VA_ARGS__)

TEST_CASE("Timers are values, with either timer", "[steady_timer]") {
  SAME(keeps_timers_in_containers, "either done", "map a done", "map b aborted", "owned done",
       "perhaps aborted", "row 0 done", "row 1 aborted", "row 2 done", "shared done");
  SAME(swaps_timers, "1", "first done", "second aborted", "swapped");
}

TEST_CASE("Timers tell where they are, with either timer", "[steady_timer]") {
  SAME(asks_where_it_is, "its context", "on the strand", "beside", "on it");
  SAME(counts_handlers, "0", "called", "1", "0", "0", "goes on", "stopped");
}

TEST_CASE("Waits are parts of other operations, with either timer", "[steady_timer]") {
  SAME(composes_operations, "done after 3", "aborted after 0", "2");
  SAME(groups_operations, "1 first, aborted, done", "1 first, done, done");
  SAME(sends_into_a_channel, "beat", "beat", "beat", "closed");
}

TEST_CASE("Waits are for threads of a pool, with either timer", "[steady_timer][threads]") {
  SAME(waits_on_a_pool, "over", "aborted", "done");
}

TEST_CASE("A stackless coroutine waits, with either timer", "[steady_timer]") {
  SAME(blinks, "on", "off", "on", "off");
}

TEST_CASE("Timers of other clocks do as Asio's do", "[steady_timer]") {
  using std::chrono::high_resolution_clock;
  using std::chrono::system_clock;
  SAME_WITH(asio::system_timer, kestrel::basic_wheel_timer<system_clock>, swaps_timers, "1",
            "first done", "second aborted", "swapped");
  SAME_WITH(asio::system_timer, kestrel::basic_wheel_timer<system_clock>, waits_on_a_pool, "over",
            "aborted", "done");
  SAME_WITH(asio::high_resolution_timer, kestrel::basic_wheel_timer<high_resolution_clock>,
            composes_operations, "done after 3", "aborted after 0", "2");
}

#if defined(KESTREL_HAS_DEPRECATED)
TEST_CASE("What Asio has deprecated is still there, with either timer", "[steady_timer]") {
  SAME(uses_old_names, "0", "1 h", "1 done", "1 done", "0 done", "soon", "1 done", "aborted",
       "aborted", "aborted", "done");
}
#endif

#if defined(ASIO_HAS_CO_AWAIT)
TEST_CASE("Coroutines combine waits, with either timer", "[steady_timer]") {
  SAME(combines_awaitables, "number 1", "both", "42", "2");
}
#endif
