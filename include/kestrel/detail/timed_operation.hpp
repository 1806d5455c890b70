// SPDX-License-Identifier: MIT
//
// timed_operation: an asynchronous operation that a timer cancels, on a wheel or lent. What stands
// behind cancel_after and cancel_at.

#ifndef KESTREL_DETAIL_TIMED_OPERATION_HPP
#define KESTREL_DETAIL_TIMED_OPERATION_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/exceptions.hpp>
#include <kestrel/detail/handler_memory.hpp>
#include <kestrel/detail/timer_host.hpp>

#include <atomic>
#include <exception>
#include <memory>
#include <new>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// What the phases of an operation whose handler runs on `Executor` are kept in. Tests have one at
/// whose steps they preempt threads.
template <class T, class Executor>
struct operation_atomic {
  using type = std::atomic<T>;
};

/// What an operation and its timer have in common: the signal that cancels the operation. The
/// operation may complete while it is cancelled, or before it is wholly initiated, on whichever
/// thread; the phases keep these apart. In memory of the wheel's, since it may have to outlive the
/// handler. `Timeout` is one of those in timeout.hpp.
template <class Executor, class Timeout>
class timed_operation {
public:
  /// Shares it.
  class pointer {
  public:
    pointer() = default;
    explicit pointer(timed_operation* p) noexcept : p_{p} {}
    pointer(const pointer& other) noexcept : p_{other.p_} {
      if (p_ != nullptr)
        p_->owners_.fetch_add(1, std::memory_order_relaxed);
    }
    pointer(pointer&& other) noexcept : p_{std::exchange(other.p_, nullptr)} {}
    pointer& operator=(pointer other) noexcept {
      std::swap(p_, other.p_);
      return *this;
    }

    ~pointer() {
      if (p_ != nullptr && p_->owners_.fetch_sub(1, std::memory_order_acq_rel) == 1)
        p_->free();
    }

    timed_operation* operator->() const noexcept { return p_; }
    explicit operator bool() const noexcept { return p_ != nullptr; }

  private:
    timed_operation* p_ = nullptr;
  };

  /// With its timer, which does nothing before `initiated`.
  static pointer make(const Timeout& t, const Executor& executor) {
    std::shared_ptr<timer_host> host = t.host_for(executor);
    void* const memory = host->memory_of_handlers().allocate(sizeof(timed_operation));
    const pointer p(::new (memory) timed_operation(t.type, std::move(host), executor));
    p->timer_.start(t, *p->host_, expiry{p});
    return p;
  }

  timed_operation(const timed_operation&) = delete;
  timed_operation& operator=(const timed_operation&) = delete;

  [[nodiscard]] const Executor& executor() const noexcept { return executor_; }
  [[nodiscard]] net::cancellation_slot slot() noexcept { return signal_.slot(); }

  /// Makes up for a timer, or a cancellation, that was too early for it. Without memory to do that
  /// later, at once: the operation has begun.
  static void initiated(const pointer& p) {
    phase now = phase::starting;
    if (p->change(now, phase::waiting))
      return;
    if (now != phase::early || !p->change(now, phase::waiting))
      return;
    const auto make_up = [p] { p->emit(net::cancellation_type(p->early_.load())); };
    KESTREL_TRY { net::post(p->executor_, make_up); }
    KESTREL_CATCH_ALL { make_up(); }
  }

  /// Cancels the operation, unless it is over; as soon as it has been initiated. May be called from
  /// inside itself.
  void emit(net::cancellation_type type) {
    phase now = phase::waiting;
    while (!change(now, phase::emitting)) {
      if (now == phase::emitting)
        return signal_.emit(type);
      if (now != phase::starting && now != phase::early)
        return;
      early_.fetch_or(static_cast<unsigned>(type));
      if (change(now, phase::early))
        return;
      now = phase::waiting; // it has been initiated meanwhile
    }
    struct at_end {
      ~at_end() {
        phase now = phase::emitting;
        if (!op.change(now, phase::waiting))
          op.phase_.store(phase::over, std::memory_order_release);
      }
      timed_operation& op;
    } const guard{*this};
    signal_.emit(type);
  }

  /// False if the operation is just being cancelled, by a caller up the stack or on another thread.
  [[nodiscard]] bool complete() {
    phase now = phase::waiting;
    const auto next = [&now] {
      return now == phase::emitting || now == phase::ending ? phase::ending : phase::over;
    };
    while (!change(now, next())) {
    }
    if (next() == phase::ending)
      return false;
    timer_.stop(*host_);
    return true;
  }

  /// The operation was destroyed instead.
  void abandon() {
    phase_.store(phase::over, std::memory_order_release);
    timer_.stop(*host_);
  }

private:
  template <class T>
  using atomic = typename operation_atomic<T, Executor>::type;

  enum class phase : unsigned char {
    starting,
    early, // was cancelled meanwhile
    waiting,
    emitting,
    ending, // has completed meanwhile
    over
  };

  /// What the timer calls. Cancels the operation where its handler runs.
  struct expiry {
    using executor_type = Executor;
    executor_type get_executor() const noexcept { return op->executor_; }
    void operator()() const { op->emit(op->type_); }
    void operator()(net::error_code) const { op->emit(op->type_); }

    pointer op;
  };

  timed_operation(net::cancellation_type type, std::shared_ptr<timer_host> host,
                  const Executor& executor) noexcept
      : host_(std::move(host)), executor_(executor), type_{type} {}

  ~timed_operation() = default;

  void free() noexcept {
    const std::shared_ptr<timer_host> host(std::move(host_)); // has the memory
    this->~timed_operation();
    host->memory_of_handlers().deallocate(this, sizeof(timed_operation));
  }

  bool change(phase& from, phase to) noexcept {
    return phase_.compare_exchange_strong(from, to, std::memory_order_acq_rel);
  }

  std::atomic<int> owners_{1};
  atomic<phase> phase_{phase::starting};
  net::cancellation_signal signal_;
  std::shared_ptr<timer_host> host_;
  typename Timeout::timer timer_;
  Executor executor_;
  net::cancellation_type type_; // that of the timeout
  atomic<unsigned> early_{0};   // the types of what came early
};

/// The handler of an operation with a timeout. Is associated with what the user's handler is, but
/// for the cancellation slot.
template <class Handler, class Operation>
class timed_handler {
  using operation = Operation;

public:
  using cancellation_slot_type = net::cancellation_slot;

  timed_handler(Handler&& handler, typename operation::pointer op)
      : handler_(std::move(handler)), op_(std::move(op)) {
    const auto outer = net::get_associated_cancellation_slot(handler_);
    if (outer.is_connected())
      forward(outer);
  }

  timed_handler(timed_handler&&) = default;

  ~timed_handler() {
    if (op_)
      op_->abandon();
  }

  [[nodiscard]] const Handler& handler() const noexcept { return handler_; }
  cancellation_slot_type get_cancellation_slot() const noexcept { return op_->slot(); }

  template <class... Results>
  void operator()(Results&&... results) {
    if (!op_->complete())
      return come_back(std::forward<Results>(results)...);
    auto outer = net::get_associated_cancellation_slot(handler_);
    if (outer.is_connected())
      outer.clear();
    op_ = {};
    std::move(handler_)(std::forward<Results>(results)...);
  }

private:
  template <class... Results>
  class with_results {
  public:
    using allocator_type = typename net::associated_allocator<Handler>::type;

    template <class... R>
    explicit with_results(timed_handler&& handler, R&&... results)
        : handler_(std::move(handler)), results_(std::forward<R>(results)...) {}

    allocator_type get_allocator() const noexcept {
      return net::get_associated_allocator(handler_.handler());
    }

    void operator()() { std::apply(handler_, std::move(results_)); }

  private:
    timed_handler handler_;
    std::tuple<Results...> results_;
  };

  /// An emission through the slot of the user's handler goes on to the operation.
  template <class Slot>
  void forward(Slot outer) {
    outer.assign([op = op_](net::cancellation_type type) {
      const typename operation::pointer held(op); // which the operation may clear the slot of
      held->emit(type);
    });
  }

  /// When the cancellation that completed the operation has returned: by way of the executor where
  /// it was cancelled.
  template <class... Results>
  void come_back(Results&&... results) {
    const auto executor = op_->executor();
    const auto own = net::get_associated_executor(handler_, executor);
    net::post(executor,
              net::bind_executor(own, with_results<std::decay_t<Results>...>(
                                          std::move(*this), std::forward<Results>(results)...)));
  }

  Handler handler_;
  typename operation::pointer op_;
};

template <class Executor>
auto context_of(const Executor& executor)
    -> decltype(net::query(executor, net::execution::context)) {
  return net::query(executor, net::execution::context);
}

inline void set_error(net::error_code& error, const std::system_error& why) { error = why.code(); }

inline void set_error(std::exception_ptr& error, const std::system_error& why) {
  error = std::make_exception_ptr(why);
}

/// What can be made up for a result that there is not.
template <class Result>
concept result_from_nothing = std::is_default_constructible_v<std::decay_t<Result>> &&
    std::is_convertible_v<std::decay_t<Result>, Result>;

/// How the handler of an operation is told that this could not begin, by its signature: an error
/// first, and nothing else.
template <class... Signatures>
struct refusal {
  static constexpr bool can_be_told = false;
};

template <class Error, result_from_nothing... Results>
requires(std::is_same_v<Error, net::error_code> ||
         std::is_same_v<Error, std::exception_ptr>) struct refusal<void(Error, Results...)> {
  static constexpr bool can_be_told = true;

  template <class Handler>
  static void tell(Handler&& handler, const std::system_error& why) {
    Error error;
    set_error(error, why);
    std::forward<Handler>(handler)(std::move(error), std::decay_t<Results>()...);
  }
};

/// The handler of an operation that could not begin, as what is posted.
template <class Handler, class Refusal>
class refused_handler {
public:
  using allocator_type = typename net::associated_allocator<Handler>::type;

  refused_handler(Handler&& handler, const std::system_error& why)
      : handler_(std::move(handler)), why_(why) {}

  allocator_type get_allocator() const noexcept { return net::get_associated_allocator(handler_); }

  void operator()() { Refusal::tell(std::move(handler_), why_); }

private:
  Handler handler_;
  std::system_error why_;
};

/// Initiates an operation with a timeout.
template <class Initiation, class Timeout, class... Signatures>
class initiate_timed {
public:
  using executor_type = typename net::associated_executor<Initiation, net::any_io_executor>::type;

  initiate_timed(Initiation&& initiation, Timeout t)
      : initiation_(std::move(initiation)), timeout_(std::move(t)) {}
  initiate_timed(const Initiation& initiation, Timeout t)
      : initiation_(initiation), timeout_(std::move(t)) {}

  executor_type get_executor() const noexcept {
    return net::associated_executor<Initiation, net::any_io_executor>::get(initiation_,
                                                                           timeout_.executor());
  }

  template <class Handler, class... Args>
  void operator()(Handler&& handler, Args&&... args) && {
    start(std::move(initiation_), std::forward<Handler>(handler), std::forward<Args>(args)...);
  }

  template <class Handler, class... Args>
  void operator()(Handler&& handler, Args&&... args) const& {
    start(initiation_, std::forward<Handler>(handler), std::forward<Args>(args)...);
  }

private:
  /// On the handler's executor, unless it is one like `use_future`'s, which belongs to no context
  /// or only to the system's: then on the operation's.
  template <class Initiate, class Handler, class... Args>
  void start(Initiate&& initiate, Handler&& handler, Args&&... args) const {
    using associated = net::associated_executor<std::decay_t<Handler>, executor_type>;
    const auto own = associated::get(handler, get_executor());
    const auto start_on = [&](const auto& executor) {
      this->start_on(executor, std::forward<Initiate>(initiate), std::forward<Handler>(handler),
                     std::forward<Args>(args)...);
    };
    if constexpr (!requires { context_of(own); })
      start_on(get_executor());
    else if constexpr (std::is_same_v<typename associated::type, executor_type> ||
                       !std::is_same_v<decltype(context_of(own)), net::execution_context&>)
      start_on(own);
    else if (&context_of(own) != &context_of(net::system_executor()))
      start_on(own);
    else
      start_on(get_executor());
  }

  template <class Executor, class Initiate, class Handler, class... Args>
  void start_on(const Executor& executor, Initiate&& initiate, Handler&& handler,
                Args&&... args) const {
    using handler_type = std::decay_t<Handler>;
    using operation = timed_operation<Executor, Timeout>;
    typename operation::pointer op;
    if constexpr (refusal<Signatures...>::can_be_told) {
      // An exception would end the program if a coroutine is what waits: Asio lets none through.
      if (const auto why = refusal_of([&] { op = operation::make(timeout_, executor); })) {
        const auto own = net::get_associated_executor(handler, executor);
        return net::post(
            executor,
            net::bind_executor(own, refused_handler<handler_type, refusal<Signatures...>>(
                                        handler_type(std::forward<Handler>(handler)), *why)));
      }
    } else {
      op = operation::make(timeout_, executor);
    }
    const auto timed = [&]() -> timed_handler<handler_type, operation> {
      KESTREL_TRY { return {handler_type(std::forward<Handler>(handler)), op}; }
      KESTREL_CATCH_ALL {
        op->abandon();
        KESTREL_RETHROW;
      }
    };
    std::forward<Initiate>(initiate)(timed(), std::forward<Args>(args)...);
    operation::initiated(op);
  }

  Initiation initiation_;
  Timeout timeout_;
};

} // namespace detail
KESTREL_END_NAMESPACE

KESTREL_BEGIN_ASIO_NAMESPACE

template <template <class, class> class Associator, class Handler, class Operation, class Candidate>
struct associator<Associator, kestrel::detail::timed_handler<Handler, Operation>, Candidate>
    : Associator<Handler, Candidate> {
  using timed = kestrel::detail::timed_handler<Handler, Operation>;

  static decltype(auto) get(const timed& h) noexcept {
    return Associator<Handler, Candidate>::get(h.handler());
  }
  static decltype(auto) get(const timed& h, const Candidate& c) noexcept {
    return Associator<Handler, Candidate>::get(h.handler(), c);
  }
};

KESTREL_END_ASIO_NAMESPACE

#endif // KESTREL_DETAIL_TIMED_OPERATION_HPP
