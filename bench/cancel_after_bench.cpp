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
// The figures are nanoseconds of processor time for one operation with all that its timeout costs.
// `none` is what it costs without. The operation is the same for all: a handler that is kept
// until it is posted, or cancelled through its slot.

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

#include "asio_cancel_after.hpp"
#include "resources.hpp"
#include "run.hpp"
#include "workload.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>

namespace {

using namespace kestrel_bench;

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

template <class Timeouts>
void in_time(benchmark::State& state) {
  constexpr std::size_t batch = 1000;
  server<Timeouts> s(static_cast<std::size_t>(state.range(0)));
  s.read_all(30s, 30s);
  while (state.KeepRunningBatch(batch)) {
    const stopwatch taken;
    s.receive(batch);
    state.SetIterationTime(taken.sample_of(batch).seconds);
  }
}

template <class Timeouts>
void times_out(benchmark::State& state) {
  const auto connections = static_cast<std::size_t>(state.range(0));
  server<Timeouts> s(connections);
  while (state.KeepRunningBatch(state.range(0))) {
    s.read_all(0s, 50ms);
    std::this_thread::sleep_for(60ms);
    const stopwatch taken;
    s.run_until_all_timed_out();
    state.SetIterationTime(taken.sample_of(connections).seconds);
    if (!s.all_timed_out())
      state.SkipWithError("some did not time out");
  }
}

void register_all(bool quick) {
  const auto in_time_by = [quick](const char* name, void (*f)(benchmark::State&)) {
    benchmark::RegisterBenchmark(name, f)
        ->Arg(1)
        ->Arg(10'000)
        ->Arg(100'000)
        ->MinTime(quick ? 0.02 : 0.2)
        ->UseManualTime();
  };
  in_time_by("in_time/none", in_time<no_timeout>);
  in_time_by("in_time/asio", in_time<as_asio>);
  in_time_by("in_time/cancel_after", in_time<by_kestrel>);
  in_time_by("in_time/cancel_after_on_a_wheel", in_time<by_kestrel_on_a_timer_wheel>);
  const auto times_out_by = [](const char* name, void (*f)(benchmark::State&)) {
    for (const int n : {10'000, 100'000})
      benchmark::RegisterBenchmark(name, f)->Arg(n)->Iterations(4 * n)->UseManualTime();
  };
  times_out_by("times_out/asio", times_out<as_asio>);
  times_out_by("times_out/cancel_after", times_out<by_kestrel>);
  times_out_by("times_out/cancel_after_on_a_wheel", times_out<by_kestrel_on_a_timer_wheel>);
}

} // namespace

int main(int argc, char** argv) { return run(argc, argv, register_all); }
