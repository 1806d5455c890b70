// SPDX-License-Identifier: MIT
//
// callback: a move-only holder for what a timer calls. Callables with an executor of their own and
// those that return a coroutine are told apart when they are stored, not when they are called.
// Moving one never throws and runs none of the callable's code.

#ifndef KESTREL_DETAIL_CALLBACK_HPP
#define KESTREL_DETAIL_CALLBACK_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/handler_memory.hpp>
#include <kestrel/error.hpp>
#include <kestrel/timer_id.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// What a callback may ask to be told: `f()`, `f(id)` or `f(id, missed)`.
struct firing {
  timer_id id;
  std::uint64_t missed;
};

template <class F>
inline constexpr bool is_timer_callback =
    std::is_invocable_v<F&, timer_id, std::uint64_t> || std::is_invocable_v<F&, timer_id> ||
    std::is_invocable_v<F&>;

template <class F>
decltype(auto) fire(F& f, firing which) {
  if constexpr (std::is_invocable_v<F&, timer_id, std::uint64_t>)
    return f(which.id, which.missed);
  else if constexpr (std::is_invocable_v<F&, timer_id>)
    return f(which.id);
  else
    return f();
}

/// Only types that can be made from nullptr can be empty: std::function, function pointers.
template <class F>
bool is_empty_callback(const F& f) noexcept {
  if constexpr (std::is_constructible_v<F, std::nullptr_t> && requires { f == nullptr; })
    return f == nullptr;
  else
    return false;
}

// ---- How a callable is kept

template <class F>
class kept_inline {
public:
  template <class G>
  kept_inline(const std::shared_ptr<callable_memory>&, G&& f) : f_(std::forward<G>(f)) {}

  F& target() noexcept { return f_; }

private:
  F f_;
};

/// Apart, so that the wheel, which moves callables under its lock, moves a pointer: a callable's
/// own moves and destructor run where nothing is locked. In a block of the wheel, or in memory of
/// the callable's associated allocator if it has one.
template <class F>
class kept_apart {
  using associated = typename net::associated_allocator<F>::type;
  static constexpr bool in_block = std::is_same_v<associated, std::allocator<void>> &&
                                   sizeof(F) <= callable_memory::block_size &&
                                   alignof(F) <= alignof(std::max_align_t);
  using allocator_type = typename std::allocator_traits<associated>::template rebind_alloc<F>;
  using traits = std::allocator_traits<allocator_type>;

public:
  template <class G>
  kept_apart(const std::shared_ptr<callable_memory>& memory, G&& f) : memory_(memory) {
    allocator_type allocator(net::get_associated_allocator(f));
    f_ = allocate(allocator);
    struct give_back {
      ~give_back() {
        if (allocator != nullptr)
          owner.deallocate(*allocator);
      }
      kept_apart& owner;
      allocator_type* allocator;
    } guard{*this, &allocator};
    ::new (static_cast<void*>(f_)) F(std::forward<G>(f));
    guard.allocator = nullptr;
  }

  kept_apart(kept_apart&& other) noexcept
      : memory_(std::move(other.memory_)), f_{std::exchange(other.f_, nullptr)} {}

  ~kept_apart() {
    if (f_ == nullptr)
      return;
    allocator_type allocator(net::get_associated_allocator(*f_));
    f_->~F();
    deallocate(allocator);
  }

  F& target() noexcept { return *f_; }

private:
  F* allocate([[maybe_unused]] allocator_type& allocator) {
    if constexpr (in_block)
      return static_cast<F*>(memory_->allocate(sizeof(F)));
    else
      return traits::allocate(allocator, 1);
  }

  void deallocate([[maybe_unused]] allocator_type& allocator) noexcept {
    if constexpr (in_block)
      memory_->deallocate(f_, sizeof(F));
    else
      traits::deallocate(allocator, f_, 1);
  }

  std::shared_ptr<callable_memory> memory_; // a callable's destructor may end the wheel
  F* f_ = nullptr;
};

/// A coroutine refers to the callable that made it, possibly longer than the timer lives.
template <class F>
class kept_shared {
public:
  template <class G>
  kept_shared(const std::shared_ptr<callable_memory>&, G&& f)
      : f_(std::make_shared<F>(std::forward<G>(f))) {}

  F& target() noexcept { return *f_; }
  const std::shared_ptr<F>& share() const noexcept { return f_; }

private:
  std::shared_ptr<F> f_;
};

// ---- The holder

/// `Engine` gives `get_executor()` and `send(executor, id, lock)`; `lock_type` is its lock.
template <class Engine, class Lock, std::size_t InlineSize>
class callback {
  static_assert(InlineSize >= sizeof(std::shared_ptr<void>) + sizeof(void*));

  struct operations {
    void (*invoke)(void* storage, Engine&, firing);
    void (*send)(void* storage, Engine&, timer_id, Lock&); // null: runs on the engine's executor
    void (*relocate)(void* from, void* to) noexcept;       // null: by copying the bytes
    void (*destroy)(void* storage) noexcept;               // null: nothing to do
  };

public:
  callback() = default;

  template <class F>
  callback(const std::shared_ptr<callable_memory>& memory, F&& f) {
    using target = std::decay_t<F>;
    static_assert(is_timer_callback<target>,
                  "kestrel: a timer's callback takes nothing, (timer_id), or (timer_id, missed)");
    if (is_empty_callback(f))
      throw_error(errc::invalid_callback);
    if constexpr (returns_awaitable<target>())
      keep<kept_shared<target>>(memory, std::forward<F>(f));
    else if constexpr (sizeof(target) <= InlineSize && alignof(target) <= alignment &&
                       std::is_trivially_copyable_v<target>)
      keep<kept_inline<target>>(memory, std::forward<F>(f));
    else
      keep<kept_apart<target>>(memory, std::forward<F>(f));
  }

  callback(callback&& other) noexcept { take(other); }

  callback& operator=(callback&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }

  ~callback() { reset(); }

  explicit operator bool() const noexcept { return operations_ != nullptr; }

  /// Nothing happens when it is destroyed, so that need not be done.
  [[nodiscard]] bool trivially_discardable() const noexcept {
    return operations_ == nullptr || operations_->destroy == nullptr;
  }

  [[nodiscard]] bool has_own_executor() const noexcept { return operations_->send != nullptr; }

  void operator()(Engine& engine, firing which) { operations_->invoke(storage_, engine, which); }

  /// Has `engine.send` called with the callable's own executor.
  void send(Engine& engine, timer_id id, Lock& lock) {
    operations_->send(storage_, engine, id, lock);
  }

  friend void swap(callback& a, callback& b) noexcept {
    callback c(std::move(a));
    a = std::move(b);
    b = std::move(c);
  }

private:
  static constexpr std::size_t alignment = alignof(std::uint64_t);

  template <class F>
  static constexpr bool returns_awaitable() noexcept {
    return is_awaitable<
        std::remove_cvref_t<decltype(fire(std::declval<F&>(), std::declval<firing>()))>>;
  }

  template <class Kept, class F>
  void keep(const std::shared_ptr<callable_memory>& memory, F&& f) {
    ::new (static_cast<void*>(storage_)) Kept(memory, std::forward<F>(f));
    operations_ = &operations_of<Kept>;
  }

  void take(callback& other) noexcept {
    operations_ = std::exchange(other.operations_, nullptr);
    if (operations_ == nullptr)
      return;
    if (operations_->relocate == nullptr)
      std::memcpy(storage_, other.storage_, InlineSize);
    else
      operations_->relocate(other.storage_, storage_);
  }

  void reset() noexcept {
    const operations* old = std::exchange(operations_, nullptr);
    if (old != nullptr && old->destroy != nullptr)
      old->destroy(storage_);
  }

  template <class Kept>
  static Kept& kept(void* storage) noexcept {
    return *std::launder(static_cast<Kept*>(storage));
  }

  template <class Kept>
  static auto own_executor(Kept& kept, Engine& engine) noexcept {
    return net::get_associated_executor(kept.target(), engine.get_executor());
  }

  template <class Kept>
  static void invoke(void* storage, [[maybe_unused]] Engine& engine, firing which) {
    Kept& k = kept<Kept>(storage);
    if constexpr (requires { k.share(); }) {
#if defined(KESTREL_HAS_CO_AWAIT)
      net::co_spawn(
          own_executor(k, engine), [f = k.share(), which] { return fire(*f, which); },
          [](std::exception_ptr failure) {
            if (failure)
              std::rethrow_exception(failure);
          });
#endif
    } else {
      static_cast<void>(fire(k.target(), which));
    }
  }

  template <class Kept>
  static void send_to_own(void* storage, Engine& engine, timer_id id, Lock& lock) {
    engine.send(own_executor(kept<Kept>(storage), engine), id, lock);
  }

  template <class Kept>
  static void relocate(void* from, void* to) noexcept {
    ::new (to) Kept(std::move(kept<Kept>(from)));
    kept<Kept>(from).~Kept();
  }

  template <class Kept>
  static void destroy(void* storage) noexcept {
    kept<Kept>(storage).~Kept();
  }

  template <class Kept>
  static constexpr operations make_operations() noexcept {
    using target = std::remove_reference_t<decltype(std::declval<Kept&>().target())>;
    return {&invoke<Kept>, detail::has_own_executor<target> ? &send_to_own<Kept> : nullptr,
            std::is_trivially_copyable_v<Kept> ? nullptr : &relocate<Kept>,
            std::is_trivially_destructible_v<Kept> ? nullptr : &destroy<Kept>};
  }

  template <class Kept>
  static constexpr operations operations_of = make_operations<Kept>();

  alignas(alignment) std::byte storage_[InlineSize];
  const operations* operations_ = nullptr;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_CALLBACK_HPP
