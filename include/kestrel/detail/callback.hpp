// SPDX-License-Identifier: MIT
//
// callback: a move-only holder for what a timer calls. Callables with an executor or a cancellation
// slot of their own and those that return a coroutine are told apart when they are stored, not when
// they are called. Moving one never throws and runs none of the callable's code.

#ifndef KESTREL_DETAIL_CALLBACK_HPP
#define KESTREL_DETAIL_CALLBACK_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/handler_memory.hpp>
#include <kestrel/detail/no_unique_address.hpp>
#include <kestrel/detail/prefetch.hpp>
#include <kestrel/detail/timer_host.hpp>
#include <kestrel/detail/timer_link.hpp>
#include <kestrel/error.hpp>
#include <kestrel/missed_periods.hpp>
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

/// Trivially copyable callables up to this size are kept in the wheel itself.
inline constexpr std::size_t inline_callback_size = 32;

/// So are those of the library that say that a copy of their bytes is they, somewhere else.
template <class F>
inline constexpr bool is_relocatable = std::is_trivially_copyable_v<F> || requires {
  typename F::kestrel_relocatable;
};

/// Callables of the library that complete a wait when they are destroyed, and do nothing else.
template <class F>
inline constexpr bool is_end_of_wait = requires {
  typename F::kestrel_end_of_wait;
};

/// Callables of the library that begin under the wheel's lock, which they may release:
/// `f(id, batch)`. They fire once, and `f.prefetch()` asks the memory for what they will read.
template <class F>
inline constexpr bool begins_under_lock = requires {
  typename F::kestrel_begins_under_lock;
};

template <class F>
inline constexpr bool is_timer_callback =
    begins_under_lock<F> || std::is_invocable_v<F&, timer_id, std::uint64_t> ||
    std::is_invocable_v<F&, timer_id> || std::is_invocable_v<F&>;

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

// ---- How a callable is kept. Always by bytes that may be copied to another place: moving a timer
// runs none of the callable's code, and `destroy` is called for the last copy only.

template <class F>
class kept_inline {
public:
  template <class G>
  kept_inline(const std::shared_ptr<callable_memory>&, G&& f) {
    ::new (static_cast<void*>(bytes_)) F(std::forward<G>(f));
  }

  F& target() noexcept { return *std::launder(reinterpret_cast<F*>(bytes_)); }

  void prefetch() const noexcept requires(begins_under_lock<F>) {
    std::launder(reinterpret_cast<const F*>(bytes_))->prefetch();
  }

  void destroy() noexcept requires(!std::is_trivially_destructible_v<F>) { target().~F(); }

private:
  alignas(F) std::byte bytes_[sizeof(F)];
};

/// In a block of the wheel, or in memory of the callable's associated allocator if it has one.
template <class F>
class kept_apart {
  struct node {
    template <class G>
    node(const std::shared_ptr<callable_memory>& m, G&& f)
        : memory(m), target(std::forward<G>(f)) {}

    std::shared_ptr<callable_memory> memory; // a callable's destructor may end the wheel
    F target;
    KESTREL_NO_UNIQUE_ADDRESS link_of<F, timer_link> link;
  };

  using associated = typename net::associated_allocator<F>::type;
  static constexpr bool in_block = std::is_same_v<associated, std::allocator<void>> &&
                                   sizeof(node) <= callable_memory::block_size &&
                                   alignof(node) <= alignof(std::max_align_t);
  using allocator_type = typename std::allocator_traits<associated>::template rebind_alloc<node>;
  using traits = std::allocator_traits<allocator_type>;

public:
  template <class G>
  kept_apart(const std::shared_ptr<callable_memory>& memory, G&& f) {
    allocator_type allocator(net::get_associated_allocator(f));
    node_ = allocate(memory.get(), allocator);
    struct give_back {
      ~give_back() {
        if (target != nullptr)
          deallocate(memory, allocator, target);
      }
      callable_memory* memory;
      allocator_type& allocator;
      node* target;
    } guard{memory.get(), allocator, node_};
    ::new (static_cast<void*>(node_)) node(memory, std::forward<G>(f));
    guard.target = nullptr;
  }

  F& target() noexcept { return node_->target; }

  void prefetch() const noexcept { prefetch_ends(node_, sizeof(node)); }

  auto& link() noexcept { return node_->link; }

  /// The callable may be what its allocator has its memory from.
  void destroy() noexcept {
    if constexpr (moves_without_throwing<F>) {
      static_cast<void>(take());
    } else {
      allocator_type allocator(net::get_associated_allocator(node_->target));
      free(allocator);
    }
  }

  /// Takes the callable out of its memory, which is freed.
  F take() noexcept requires moves_without_throwing<F> {
    allocator_type allocator(net::get_associated_allocator(node_->target));
    F target(std::move(node_->target));
    free(allocator);
    return target;
  }

private:
  static node* allocate([[maybe_unused]] callable_memory* memory, allocator_type& allocator) {
    if constexpr (in_block) {
      if (memory != nullptr)
        return static_cast<node*>(memory->allocate(sizeof(node)));
    }
    return traits::allocate(allocator, 1);
  }

  static void deallocate([[maybe_unused]] callable_memory* memory, allocator_type& allocator,
                         node* n) noexcept {
    if constexpr (in_block) {
      if (memory != nullptr)
        return memory->deallocate(n, sizeof(node));
    }
    traits::deallocate(allocator, n, 1);
  }

  void free(allocator_type& allocator) noexcept {
    const std::shared_ptr<callable_memory> memory(std::move(node_->memory));
    node_->~node();
    deallocate(memory.get(), allocator, node_);
  }

  node* node_;
};

/// What a coroutine refers to: the callable that made it, possibly longer than the timer lives.
template <class F>
struct coroutine_maker {
  template <class G>
  explicit coroutine_maker(G&& f) : target(std::forward<G>(f)) {}

  F target;
  KESTREL_NO_UNIQUE_ADDRESS link_of<F, coroutine_link<F>> link;
};

template <class F>
class kept_shared {
  using maker = coroutine_maker<F>;

public:
  template <class G>
  kept_shared(const std::shared_ptr<callable_memory>& memory, G&& f)
      : apart_(memory,
               std::allocate_shared<maker>(net::get_associated_allocator(f), std::forward<G>(f))) {}

  F& target() noexcept { return apart_.target()->target; }
  void prefetch() const noexcept { apart_.prefetch(); }
  auto& link() noexcept { return apart_.target()->link; }
  void destroy() noexcept { apart_.destroy(); }

  const std::shared_ptr<maker>& share() noexcept { return apart_.target(); }
  std::shared_ptr<maker> take() noexcept { return apart_.take(); }

private:
  kept_apart<std::shared_ptr<maker>> apart_;
};

// ---- The holder

class callback {
  struct operations {
    void (*invoke)(void* storage, timer_host&, firing);
    void (*consume)(void* storage, timer_host&, firing);          // the same for the last time
    void (*send)(void* storage, running_batch&, delivery&&);      // null: no executor of its own
    void (*begin)(void* storage, timer_id, running_batch&);       // null: not under the lock
    void (*prefetch)(const void* storage) noexcept;               // null: it is all here
    void (*destroy)(void* storage) noexcept;                      // null: nothing to do
    timer_link* (*connect)(void* storage, timer_host&, timer_id); // null: it has no slot
    timer_link* (*link)(void* storage) noexcept;                  // the same
    bool ends_wait;
  };

public:
  callback() = default;

  /// `memory` may be null: then what does not fit in here goes to the heap.
  template <class F>
  callback(const std::shared_ptr<callable_memory>& memory, F&& f) {
    using target = std::decay_t<F>;
    static_assert(is_timer_callback<target>,
                  "kestrel: a timer's callback takes nothing, (timer_id), or (timer_id, missed)");
    if (is_empty_callback(f))
      throw_error(errc::invalid_callback);
    if constexpr (returns_awaitable<target>())
      keep<kept_shared<target>>(memory, std::forward<F>(f));
    else if constexpr (sizeof(target) <= inline_callback_size && alignof(target) <= alignment &&
                       is_relocatable<target> && !has_cancellation_slot<target>)
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

  /// Its destruction completes a wait: not to come after the end of the execution context.
  [[nodiscard]] bool ends_wait() const noexcept {
    return operations_ != nullptr && operations_->ends_wait;
  }

  [[nodiscard]] bool has_own_executor() const noexcept { return operations_->send != nullptr; }

  void operator()(timer_host& host, firing which) { operations_->invoke(storage_, host, which); }

  /// For the last time. Memory that the callable was in is freed before it is called, unless moving
  /// it may throw.
  void consume(timer_host& host, firing which) {
    std::exchange(operations_, nullptr)->consume(storage_, host, which);
  }

  /// Whether `begin` calls it, and nothing else.
  [[nodiscard]] bool begins_under_lock() const noexcept { return operations_->begin != nullptr; }

  void begin(timer_id id, running_batch& batch) {
    std::exchange(operations_, nullptr)->begin(storage_, id, batch);
  }

  /// Whether it consists of more than is kept here.
  [[nodiscard]] bool leads_elsewhere() const noexcept { return operations_->prefetch != nullptr; }

  /// Asks the memory for that.
  void prefetch() const noexcept {
    if (leads_elsewhere())
      operations_->prefetch(storage_);
  }

  // ---- The callable's cancellation slot

  /// Has the slot, if there is one, cancel the timer `id`, which has not this callback yet.
  timer_link* connect(timer_host& host, timer_id id = {}) {
    return operations_->connect != nullptr ? operations_->connect(storage_, host, id) : nullptr;
  }

  /// The slot leads to the timer no longer. Under the lock, unless the timer was never there.
  void disconnect() noexcept {
    if (timer_link* l = link())
      l->cut();
  }

  [[nodiscard]] timer_link* link() noexcept {
    return operations_ != nullptr && operations_->link != nullptr ? operations_->link(storage_)
                                                                  : nullptr;
  }

  /// Posts `d` to the callable's own executor, after it has released the lock of `batch`.
  void send(running_batch& batch, delivery&& d) {
    operations_->send(storage_, batch, std::move(d));
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
    if constexpr (detail::begins_under_lock<F>)
      return false;
    else
      return is_awaitable<
          std::remove_cvref_t<decltype(fire(std::declval<F&>(), std::declval<firing>()))>>;
  }

  template <class Kept, class F>
  void keep(const std::shared_ptr<callable_memory>& memory, F&& f) {
    static_assert(std::is_trivially_copyable_v<Kept>);
    ::new (static_cast<void*>(storage_)) Kept(memory, std::forward<F>(f));
    std::memset(storage_ + sizeof(Kept), 0, inline_callback_size - sizeof(Kept));
    operations_ = &operations_of<Kept>;
  }

  void take(callback& other) noexcept {
    operations_ = std::exchange(other.operations_, nullptr);
    if (operations_ != nullptr)
      std::memcpy(storage_, other.storage_, inline_callback_size);
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
  static void invoke(void* storage, [[maybe_unused]] timer_host& host, firing which) {
    Kept& k = kept<Kept>(storage);
#if defined(KESTREL_HAS_CO_AWAIT)
    if constexpr (requires { k.share(); }) {
      spawn(k.share(), host, which);
      return;
    }
#endif
    static_cast<void>(fire(k.target(), which));
  }

  template <class Kept>
  static void consume(void* storage, [[maybe_unused]] timer_host& host, firing which) {
    Kept& k = kept<Kept>(storage);
    if constexpr (requires { k.share(); }) {
#if defined(KESTREL_HAS_CO_AWAIT)
      spawn(k.take(), host, which);
#endif
    } else if constexpr (requires { k.take(); }) {
      auto target = k.take();
      static_cast<void>(fire(target, which));
    } else if constexpr (requires { k.destroy(); }) {
      struct at_end {
        ~at_end() { kept.destroy(); }
        Kept& kept;
      } const guard{k};
      static_cast<void>(fire(k.target(), which));
    } else {
      static_cast<void>(fire(k.target(), which));
    }
  }

#if defined(KESTREL_HAS_CO_AWAIT)
  template <class Executor>
  static Executor executor_of_type(const net::any_io_executor& executor) {
    const Executor* const target = target_of<Executor>(executor);
    if (target == nullptr)
      throw_error(errc::invalid_callback); // the coroutine is for another kind of executor
    return *target;
  }

  template <class F>
  static void spawn(const std::shared_ptr<coroutine_maker<F>>& maker, timer_host& host,
                    firing which) {
    using awaitable = std::remove_cvref_t<decltype(fire(maker->target, which))>;
    if constexpr (detail::has_own_executor<F>)
      spawn_on(net::get_associated_executor(maker->target), maker, which);
    else if constexpr (std::is_same_v<typename awaitable::executor_type, net::any_io_executor>)
      spawn_on(host.any_executor(), maker, which);
    else
      spawn_on(executor_of_type<typename awaitable::executor_type>(host.any_executor()), maker,
               which);
  }

  template <class Executor, class F>
  static void spawn_on(const Executor& executor, const std::shared_ptr<coroutine_maker<F>>& maker,
                       firing which) {
    const auto rethrow = [](const std::exception_ptr& failure) {
      if (failure)
        std::rethrow_exception(failure);
    };
    if constexpr (has_cancellation_slot<F>) {
      if (coroutine_link<F>* const link = maker->link.get()) {
        const std::shared_ptr<net::cancellation_signal> signal = link->make_signal();
        net::co_spawn(
            executor, [maker, signal, which] { return fire(maker->target, which); },
            net::bind_cancellation_slot(signal->slot(), rethrow));
        return;
      }
    }
    net::co_spawn(
        executor, [maker, which] { return fire(maker->target, which); }, rethrow);
  }
#endif

  template <class Kept>
  static void send_to_own(void* storage, running_batch& batch, delivery&& d) {
    const auto own = net::get_associated_executor(kept<Kept>(storage).target());
    batch.unlock();
    net::post(own, std::move(d));
  }

  template <class Kept>
  static void begin_kept(void* storage, timer_id id, running_batch& batch) {
    kept<Kept>(storage).target()(id, batch);
  }

  template <class Kept>
  static void prefetch_kept(const void* storage) noexcept {
    std::launder(static_cast<const Kept*>(storage))->prefetch();
  }

  template <class Kept>
  static void destroy(void* storage) noexcept {
    Kept& k = kept<Kept>(storage);
    if constexpr (requires { k.link().get(); }) {
      if (timer_link* l = k.link().get())
        l->cut();
    }
    k.destroy();
  }

  template <class Kept>
  static timer_link* connect_slot(void* storage, timer_host& host, timer_id id) {
    Kept& k = kept<Kept>(storage);
    return k.link().connect(k.target(), host, id);
  }

  template <class Kept>
  static timer_link* link_in(void* storage) noexcept {
    return kept<Kept>(storage).link().get();
  }

  template <class Kept>
  static constexpr operations make_operations() noexcept {
    using target = std::remove_reference_t<decltype(std::declval<Kept&>().target())>;
    operations o{};
    o.ends_wait = is_end_of_wait<target>;
    if constexpr (detail::begins_under_lock<target>) {
      o.begin = &begin_kept<Kept>;
    } else {
      o.invoke = &invoke<Kept>;
      o.consume = &consume<Kept>;
    }
    if constexpr (detail::has_own_executor<target>)
      o.send = &send_to_own<Kept>;
    if constexpr (requires(const Kept& k) { k.prefetch(); })
      o.prefetch = &prefetch_kept<Kept>;
    if constexpr (requires(Kept & k) { k.destroy(); })
      o.destroy = &destroy<Kept>;
    if constexpr (has_cancellation_slot<target>) {
      o.connect = &connect_slot<Kept>;
      o.link = &link_in<Kept>;
    }
    return o;
  }

  template <class Kept>
  static constexpr operations operations_of = make_operations<Kept>();

  alignas(alignment)
      std::byte storage_[inline_callback_size]; // all of it initialised, as it is moved as a whole
  const operations* operations_ = nullptr;
};

/// The callback that the timer `id` is to have from now on.
template <class F>
callback replacement(timer_host& host, timer_id id, F&& f) {
  callback made(host.memory_of_callables(), std::forward<F>(f));
  if constexpr (has_cancellation_slot<std::decay_t<F>>)
    made.connect(host, id);
  return made;
}

// ---- What a wheel is asked to do, with its callbacks

struct timer_spec {
  callback action;
  std::int64_t delay;    // nanoseconds from the moment it is scheduled
  std::int64_t interval; // nanoseconds; 0 for a timer that fires once
  missed_periods policy;
  bool is_marked = false; // while a batch looks for tasks that it has twice
};

struct postponement {
  timer_id id;
  std::int64_t delay; // nanoseconds from the moment it is postponed
  callback action;    // empty to keep the one there is
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_CALLBACK_HPP
