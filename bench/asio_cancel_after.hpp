// SPDX-License-Identifier: MIT
//
// What Asio's own cancel_after does, which versions since 1.31 have, for benchmarks with older
// ones. Written anew, in the same steps at the same costs: one block per operation, recycled by the
// thread, with the handler, a waitable timer on the operation's executor, and room for the results;
// both the operation and the wait for the timer complete before the handler is called.

#ifndef KESTREL_BENCH_ASIO_CANCEL_AFTER_HPP
#define KESTREL_BENCH_ASIO_CANCEL_AFTER_HPP

#include <asio/associated_allocator.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/associator.hpp>
#include <asio/async_result.hpp>
#include <asio/basic_waitable_timer.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/detail/recycling_allocator.hpp>
#include <asio/error_code.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace kestrel_bench {

using asio_clock = std::chrono::steady_clock;

template <class Op, class... Args>
class timed_handler;
template <class Op>
class timer_handler;

template <class Handler, class Executor, class... Args>
class timed_op {
  using timer = asio::basic_waitable_timer<asio_clock, asio::wait_traits<asio_clock>, Executor>;

  // Asio has a cache of its own for these. That for parallel groups is like it, and not used here.
  using allocator =
      asio::detail::recycling_allocator<timed_op,
                                        asio::detail::thread_info_base::parallel_group_tag>;

public:
  using handler_type = Handler;

  static timed_op* make(Handler&& handler, const Executor& executor, asio_clock::duration delay,
                        asio::cancellation_type type) {
    return ::new (allocator().allocate(1)) timed_op(std::move(handler), executor, delay, type);
  }

  template <class Initiation, class... InitArgs>
  void start(Initiation&& initiation, InitArgs&&... args) {
    const auto slot = asio::get_associated_cancellation_slot(handler_);
    if (slot.is_connected())
      proxy_ = &asio::cancellation_slot(slot).template emplace<cancel_proxy>(this);
    timer_.async_wait(timer_handler<timed_op>(this));
    std::forward<Initiation>(initiation)(timed_handler<timed_op, Args...>(this),
                                         std::forward<InitArgs>(args)...);
  }

  [[nodiscard]] const Handler& handler() const noexcept { return handler_; }
  [[nodiscard]] asio::cancellation_slot slot() noexcept { return signal_.slot(); }

  template <class... Results>
  void handle_op(Results&&... results) {
    if (proxy_ != nullptr)
      proxy_->op = nullptr;
    results_.emplace(std::forward<Results>(results)...);
    if (waits_) {
      timer_.cancel();
      release();
    } else {
      complete();
    }
  }

  void handle_timer() {
    waits_ = false;
    if (results_) {
      complete();
    } else {
      signal_.emit(type_);
      release();
    }
  }

  void release() {
    if (--references_ != 0)
      return;
    [[maybe_unused]] const Handler handler(std::move(handler_));
    free();
  }

private:
  struct cancel_proxy {
    explicit cancel_proxy(timed_op* o) noexcept : op{o} {}
    void operator()(asio::cancellation_type type) const {
      if (op != nullptr)
        op->signal_.emit(type);
    }
    timed_op* op;
  };

  timed_op(Handler&& handler, const Executor& executor, asio_clock::duration delay,
           asio::cancellation_type type)
      : handler_(std::move(handler)), timer_(executor, delay), type_{type} {}

  void complete() {
    if (--references_ != 0)
      return;
    Handler handler(std::move(handler_));
    std::tuple<Args...> results(std::move(*results_));
    free();
    std::apply(std::move(handler), std::move(results));
  }

  void free() noexcept {
    this->~timed_op();
    allocator().deallocate(this, 1);
  }

  int references_ = 2; // the operation's and the timer's
  Handler handler_;
  timer timer_;
  asio::cancellation_type type_;
  cancel_proxy* proxy_ = nullptr;
  asio::cancellation_signal signal_;
  bool waits_ = true;
  std::optional<std::tuple<Args...>> results_;
};

/// The handler that the operation gets.
template <class Op, class... Args>
class timed_handler {
public:
  using cancellation_slot_type = asio::cancellation_slot;

  explicit timed_handler(Op* op) noexcept : op_{op} {}
  timed_handler(timed_handler&& other) noexcept : op_{std::exchange(other.op_, nullptr)} {}
  timed_handler& operator=(timed_handler&&) = delete;
  ~timed_handler() {
    if (op_ != nullptr)
      op_->release();
  }

  [[nodiscard]] const auto& handler() const noexcept { return op_->handler(); }
  cancellation_slot_type get_cancellation_slot() const noexcept { return op_->slot(); }

  void operator()(Args... args) { std::exchange(op_, nullptr)->handle_op(std::move(args)...); }

private:
  Op* op_;
};

/// That of the wait for the timer.
template <class Op>
class timer_handler {
public:
  using cancellation_slot_type = asio::cancellation_slot;

  explicit timer_handler(Op* op) noexcept : op_{op} {}
  timer_handler(timer_handler&& other) noexcept : op_{std::exchange(other.op_, nullptr)} {}
  timer_handler& operator=(timer_handler&&) = delete;
  ~timer_handler() {
    if (op_ != nullptr)
      op_->release();
  }

  [[nodiscard]] const auto& handler() const noexcept { return op_->handler(); }
  cancellation_slot_type get_cancellation_slot() const noexcept { return {}; }

  void operator()(const asio::error_code&) { std::exchange(op_, nullptr)->handle_timer(); }

private:
  Op* op_;
};

template <class CompletionToken>
struct asio_cancel_after_t {
  CompletionToken token;
  asio_clock::duration delay;
  asio::cancellation_type type;
};

template <class CompletionToken>
[[nodiscard]] asio_cancel_after_t<std::decay_t<CompletionToken>>
asio_cancel_after(asio_clock::duration delay, CompletionToken&& token) {
  return {std::forward<CompletionToken>(token), delay, asio::cancellation_type::terminal};
}

} // namespace kestrel_bench

namespace asio {

template <class CompletionToken, class... Args>
struct async_result<kestrel_bench::asio_cancel_after_t<CompletionToken>, void(Args...)> {
  template <class Initiation, class Token, class... InitArgs>
  static decltype(auto) initiate(Initiation&& initiation, Token&& adapted, InitArgs&&... args) {
    return async_initiate<CompletionToken, void(Args...)>(
        [start = std::forward<Initiation>(initiation), delay = adapted.delay,
         type = adapted.type](auto&& handler, auto&&... rest) mutable {
          using handler_type = std::decay_t<decltype(handler)>;
          const auto executor = get_associated_executor(start);
          using op = kestrel_bench::timed_op<handler_type, std::decay_t<decltype(executor)>,
                                             std::decay_t<Args>...>;
          op::make(handler_type(std::forward<decltype(handler)>(handler)), executor, delay, type)
              ->start(std::move(start), std::forward<decltype(rest)>(rest)...);
        },
        adapted.token, std::forward<InitArgs>(args)...);
  }
};

template <template <class, class> class Associator, class Op, class... Args, class Candidate>
struct associator<Associator, kestrel_bench::timed_handler<Op, Args...>, Candidate>
    : Associator<typename Op::handler_type, Candidate> {
  static auto get(const kestrel_bench::timed_handler<Op, Args...>& h,
                  const Candidate& c = Candidate()) noexcept {
    return Associator<typename Op::handler_type, Candidate>::get(h.handler(), c);
  }
};

template <template <class, class> class Associator, class Op, class Candidate>
struct associator<Associator, kestrel_bench::timer_handler<Op>, Candidate>
    : Associator<typename Op::handler_type, Candidate> {
  static auto get(const kestrel_bench::timer_handler<Op>& h,
                  const Candidate& c = Candidate()) noexcept {
    return Associator<typename Op::handler_type, Candidate>::get(h.handler(), c);
  }
};

} // namespace asio

#endif // KESTREL_BENCH_ASIO_CANCEL_AFTER_HPP
