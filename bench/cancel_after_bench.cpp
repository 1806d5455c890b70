// SPDX-License-Identifier: MIT
//
// kestrel::cancel_after against what Asio's own does, which is newer than the Asio that Debian has:
// bench/asio_cancel_after.hpp takes the same steps. So many connections read, each with a timeout
// of 30 to 60 s, on sockets' kind of executor.
//
//   cmake -DBENCH=cancel_after -P cmake/bench.cmake
//
//   in_time     data comes for a connection that is drawn at random, and it reads again
//   times_out   nothing comes, and all of them time out: io_context::run() until they have
//
// `per_operation` is what counts: processor time for one operation with all that its timeout costs.
// `no_timeout` is what it costs without. The operation is the same for all: a handler that is kept
// until it is posted, or cancelled through its slot.

#include "asio_cancel_after.hpp"

#include <kestrel/cancel_after.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/associated_allocator.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <deque>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

// ---- The operation

class read_operation {
public:
  explicit read_operation(asio::io_context& io) : executor_(io.get_executor()) {}
  read_operation(const read_operation&) = delete;
  read_operation& operator=(const read_operation&) = delete;

  ~read_operation() {
    if (kept_ != nullptr)
      kept_->discard();
  }

  template <class Token>
  auto async_read(Token&& token) {
    return asio::async_initiate<Token, void(asio::error_code, std::size_t)>(initiation{this},
                                                                            token);
  }

  void complete(asio::error_code error, std::size_t size) {
    std::exchange(kept_, nullptr)->complete(error, size);
  }

private:
  struct kept_handler {
    virtual void complete(asio::error_code error, std::size_t size) = 0;
    virtual void discard() = 0;

  protected:
    ~kept_handler() = default;
  };

  /// In memory that the thread recycles, as Asio's own operations.
  template <class Handler>
  class kept_handler_of final : public kept_handler {
    using allocator = asio::detail::recycling_allocator<kept_handler_of>;

  public:
    static kept_handler* make(Handler&& handler, const asio::any_io_executor& executor) {
      return ::new (allocator().allocate(1)) kept_handler_of(std::move(handler), executor);
    }

    void complete(asio::error_code error, std::size_t size) override {
      const auto executor = asio::get_associated_executor(handler_, executor_);
      Handler handler(std::move(handler_));
      discard();
      asio::post(executor,
                 [h = std::move(handler), error, size]() mutable { std::move(h)(error, size); });
    }

    void discard() override {
      this->~kept_handler_of();
      allocator().deallocate(this, 1);
    }

  private:
    kept_handler_of(Handler&& handler, const asio::any_io_executor& executor)
        : handler_(std::move(handler)), executor_(executor) {}

    Handler handler_;
    asio::any_io_executor executor_;
  };

  struct initiation {
    using executor_type = asio::any_io_executor;
    executor_type get_executor() const noexcept { return read->executor_; }

    template <class Handler>
    void operator()(Handler&& handler) const {
      using kept = kept_handler_of<std::decay_t<Handler>>;
      auto slot = asio::get_associated_cancellation_slot(handler);
      read->kept_ = kept::make(std::forward<Handler>(handler), read->executor_);
      if (slot.is_connected())
        slot.assign([r = read](asio::cancellation_type) {
          if (r->kept_ != nullptr)
            r->complete(asio::error::operation_aborted, 0);
        });
    }

    read_operation* read;
  };

  asio::any_io_executor executor_;
  kept_handler* kept_ = nullptr;
};

// ---- What is compared

struct no_timeout {
  explicit no_timeout(asio::io_context&) {}
  template <class Token>
  Token operator()(clock_type::duration, Token token) {
    return token;
  }
};

struct as_asio {
  explicit as_asio(asio::io_context&) {}
  template <class Token>
  auto operator()(clock_type::duration delay, Token token) {
    return kestrel_bench::asio_cancel_after(delay, token);
  }
};

struct by_kestrel {
  explicit by_kestrel(asio::io_context&) {}
  template <class Token>
  auto operator()(clock_type::duration delay, Token token) {
    return kestrel::cancel_after(delay, token);
  }
};

struct by_kestrel_on_a_timer_wheel {
  explicit by_kestrel_on_a_timer_wheel(asio::io_context& io) : wheel(io) {}
  template <class Token>
  auto operator()(clock_type::duration delay, Token token) {
    return kestrel::cancel_after(wheel, delay, token);
  }
  kestrel::timer_wheel wheel;
};

// ---- What is measured

/// Xorshift. Its numbers need not be good, but cheap.
class random_numbers {
public:
  /// A number from 0 to n - 1.
  std::size_t below(std::size_t n) noexcept {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::size_t>((state_ >> 32) * n >> 32);
  }

private:
  std::uint64_t state_ = 0x9E3779B97F4A7C15u;
};

template <class Timeouts>
class server {
public:
  explicit server(std::size_t connections) {
    for (std::size_t i = 0; i != connections; ++i)
      reads_.emplace_back(io_);
  }

  /// Delays are drawn from those up to `spread` above `least`.
  void read_all(clock_type::duration least, std::chrono::microseconds spread) {
    least_ = least;
    spread_ = static_cast<std::size_t>(spread.count());
    for (std::size_t i = 0; i != reads_.size(); ++i)
      read(i);
  }

  /// Data comes so often, each time when what came before has been read.
  void receive(std::size_t times) {
    to_come_ = times;
    next();
    io_.restart();
    io_.poll();
  }

  void run_until_all_timed_out() {
    timed_out_ = 0;
    io_.restart();
    io_.run();
  }

  [[nodiscard]] bool all_timed_out() const noexcept { return timed_out_ == reads_.size(); }

private:
  struct on_read {
    void operator()(asio::error_code error, std::size_t) const { self->came(i, error); }
    server* self;
    std::size_t i;
  };

  void read(std::size_t i) {
    const auto delay = least_ + std::chrono::microseconds(random_.below(spread_));
    reads_[i].async_read(timeouts_(delay, on_read{this, i}));
  }

  void came(std::size_t i, asio::error_code error) {
    if (error) {
      if (++timed_out_ == reads_.size())
        io_.stop();
      return;
    }
    read(i);
    next();
  }

  void next() {
    if (to_come_ != 0) {
      --to_come_;
      reads_[random_.below(reads_.size())].complete({}, 1000);
    }
  }

  asio::io_context io_{1};
  Timeouts timeouts_{io_};
  std::deque<read_operation> reads_;
  random_numbers random_;
  clock_type::duration least_{};
  std::size_t spread_ = 1;
  std::size_t to_come_ = 0;
  std::size_t timed_out_ = 0;
};

void report(benchmark::State& state, std::size_t operations) {
  using benchmark::Counter;
  state.counters["per_operation"] = Counter(static_cast<double>(operations),
                                            Counter::kIsIterationInvariantRate | Counter::kInvert);
}

template <class Timeouts>
void in_time(benchmark::State& state) {
  constexpr std::size_t batch = 1000;
  server<Timeouts> s(static_cast<std::size_t>(state.range(0)));
  s.read_all(30s, 30s);
  for ([[maybe_unused]] auto _ : state)
    s.receive(batch);
  report(state, batch);
}

template <class Timeouts>
void times_out(benchmark::State& state) {
  const auto connections = static_cast<std::size_t>(state.range(0));
  server<Timeouts> s(connections);
  for ([[maybe_unused]] auto _ : state) {
    s.read_all(0s, 50ms);
    std::this_thread::sleep_for(60ms);
    const auto begin = std::clock();
    s.run_until_all_timed_out();
    state.SetIterationTime(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
    if (!s.all_timed_out())
      state.SkipWithError("some did not time out");
  }
  report(state, connections);
}

BENCHMARK_TEMPLATE(in_time, no_timeout)->Arg(1)->Arg(10'000)->Arg(100'000);
BENCHMARK_TEMPLATE(in_time, as_asio)->Arg(1)->Arg(10'000)->Arg(100'000);
BENCHMARK_TEMPLATE(in_time, by_kestrel)->Arg(1)->Arg(10'000)->Arg(100'000);
BENCHMARK_TEMPLATE(in_time, by_kestrel_on_a_timer_wheel)->Arg(1)->Arg(10'000)->Arg(100'000);
BENCHMARK_TEMPLATE(times_out, as_asio)->Arg(10'000)->Arg(100'000)->UseManualTime();
BENCHMARK_TEMPLATE(times_out, by_kestrel)->Arg(10'000)->Arg(100'000)->UseManualTime();
BENCHMARK_TEMPLATE(times_out, by_kestrel_on_a_timer_wheel)
    ->Arg(10'000)
    ->Arg(100'000)
    ->UseManualTime();

} // namespace
