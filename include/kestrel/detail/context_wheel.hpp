// SPDX-License-Identifier: MIT
//
// context_wheel: the wheel that an execution context shares among its steady_timers and timeouts,
// one for each clock. A service, made when it is first asked for.

#ifndef KESTREL_DETAIL_CONTEXT_WHEEL_HPP
#define KESTREL_DETAIL_CONTEXT_WHEEL_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/context_executor.hpp>
#include <kestrel/detail/guarded.hpp>
#include <kestrel/detail/timer_engine.hpp>
#include <kestrel/error.hpp>
#include <kestrel/wheel_config.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>

KESTREL_BEGIN_NAMESPACE
namespace detail {

template <class Clock>
struct context_wheel_traits {
  using clock = Clock;
  using wait_traits = net::wait_traits<Clock>;
  using mutex = std::mutex;
  using geometry = dynamic_geometry;
};

/// Its callbacks run on a thread of the context, on no particular executor.
template <class Clock>
using context_engine = timer_engine<context_executor, context_wheel_traits<Clock>>;

/// 1024 x 1 ms = 1.024 s; 128 x 1 s = 128 s.
inline constexpr wheel_config default_context_wheel{std::chrono::milliseconds(1), 1024,
                                                    std::chrono::seconds(1), 128};

/// Thread safe.
template <class Clock>
class context_wheel : public net::execution_context::service {
  using engine = context_engine<Clock>;

public:
  inline static net::execution_context::id id;

  explicit context_wheel(net::execution_context& context)
      : net::execution_context::service(context) {}

  /// The wheel there is, or a new one with the default geometry.
  std::shared_ptr<engine> get() {
    if (!made_.load(std::memory_order_acquire)) {
      const mutex_guard lock(mutex_);
      if (engine_ == nullptr)
        make(default_context_wheel);
    }
    return made();
  }

  /// `errc::wheel_in_use` if there is a wheel with another geometry.
  void configure(const wheel_config& config) {
    const mutex_guard lock(mutex_);
    if (engine_ == nullptr)
      make(config);
    else if (config != config_)
      throw_error(errc::wheel_in_use, all_fields(config) + ", but it has " + all_fields(config_));
  }

  /// Of timers that are pending, on the wheel there is or that `get` makes.
  void limit(std::size_t n) { get()->limit(n); }
  [[nodiscard]] std::size_t limit() { return get()->limit(); }

private:
  void shutdown() override {} // the engine is told by the context's registry

  /// The wheel there is, which is there for good: that takes no lock.
  const std::shared_ptr<engine>& made() const KESTREL_UNCHECKED_LOCKING { return engine_; }

  void make(const wheel_config& config) KESTREL_REQUIRES(mutex_) {
    const dynamic_geometry geometry = checked_geometry<Clock>(config);
    engine_ = engine::create(context_executor(this->context()), geometry);
    config_ = config;
    made_.store(true, std::memory_order_release);
  }

  guarded_mutex<std::mutex> mutex_;
  wheel_config config_ KESTREL_GUARDED_BY(mutex_);
  std::shared_ptr<engine> engine_ KESTREL_GUARDED_BY(mutex_); // for good, once it is
  std::atomic<bool> made_{false};
};

/// The wheel of the context that `executor` is of.
template <class Clock, class Executor>
std::shared_ptr<context_engine<Clock>> shared_wheel(const Executor& executor) {
  net::execution_context& context = net::query(executor, net::execution::context);
  return net::use_service<context_wheel<Clock>>(context).get();
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_CONTEXT_WHEEL_HPP
