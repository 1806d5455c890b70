// SPDX-License-Identifier: MIT
//
// wait_op: a completion handler that waits for its results, whatever its type. Its executor counts
// as work, unless somebody else sees to that. Its memory comes from its own allocator, is enough to
// post it, and is freed before it is called.

#ifndef KESTREL_DETAIL_WAIT_OP_HPP
#define KESTREL_DETAIL_WAIT_OP_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/block_allocator.hpp>
#include <kestrel/detail/exceptions.hpp>
#include <kestrel/detail/no_unique_address.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

template <class... Results>
class wait_op {
public:
  using base = wait_op;

  wait_op() = default;
  wait_op(const wait_op&) = delete;
  wait_op& operator=(const wait_op&) = delete;

  /// Posts the handler with its results, and ends this object. An io_context needs no memory for
  /// that. If another executor has none, or refuses, the program ends: a handler must not be lost,
  /// nor called here.
  virtual void complete(net::error_code ec, Results... results) noexcept = 0;

  /// Ends this object. The handler is destroyed and not called.
  virtual void discard() noexcept = 0;

  /// Tells operations that wait for the same apart, those that are over too. Who began later has a
  /// larger one.
  [[nodiscard]] std::uint64_t ticket() const noexcept { return ticket_; }
  void set_ticket(std::uint64_t ticket) noexcept { ticket_ = ticket; }

  /// One that is larger than all before.
  static std::uint64_t next_ticket() noexcept {
    static std::atomic<std::uint64_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
  }

protected:
  ~wait_op() = default;

private:
  template <class>
  friend class wait_op_list;

  std::uint64_t ticket_ = 0;
  wait_op* before_ = nullptr; // trees of operations, see wait_op_list
  wait_op* behind_ = nullptr;
};

struct discard_op {
  template <class Op>
  void operator()(Op* op) const noexcept {
    op->discard();
  }
};

/// `Op` is a wait_op, or derived from one.
template <class Op>
using wait_op_ptr = std::unique_ptr<Op, discard_op>;

/// Owns operations, in the order in which they began. A slot that is emitted knows the ticket of
/// its operation only, since that may be over; so the list is a search tree by tickets, balanced as
/// one that was filled in random order (a treap). A list of one costs no more than a pointer.
///
/// Complexity: O(log n) expected; `for_each` and the destructor look at all.
template <class Op>
class wait_op_list {
public:
  wait_op_list() = default;

  wait_op_list(wait_op_list&& other) noexcept : root_{std::exchange(other.root_, nullptr)} {}

  wait_op_list& operator=(wait_op_list&&) = delete;

  ~wait_op_list() {
    while (!empty())
      pop();
  }

  [[nodiscard]] bool empty() const noexcept { return root_ == nullptr; }

  void push(wait_op_ptr<Op> op) noexcept {
    node* const added = op.release();
    const std::uint64_t ticket = ticket_of(added);
    node** place = &root_;
    while (*place != nullptr && rank(*place) > rank(added))
      place = step_to(ticket, *place);
    split(std::exchange(*place, added), ticket, added->before_, added->behind_);
  }

  void append(wait_op_list&& other) noexcept {
    if (empty())
      std::swap(root_, other.root_);
    while (!other.empty())
      push(other.pop());
  }

  /// The first one. There is one.
  wait_op_ptr<Op> pop() noexcept {
    node** place = &root_;
    while ((*place)->before_ != nullptr)
      place = &(*place)->before_;
    return take_at(place);
  }

  /// The one with this ticket, or null.
  wait_op_ptr<Op> take(std::uint64_t ticket) noexcept {
    node** place = &root_;
    while (*place != nullptr && ticket_of(*place) != ticket)
      place = step_to(ticket, *place);
    return *place != nullptr ? take_at(place) : nullptr;
  }

  /// In any order.
  template <class F>
  void for_each(F&& f) {
    visit(root_, f);
  }

private:
  using node = typename Op::base;

  static std::uint64_t ticket_of(const node* n) noexcept {
    return static_cast<const Op*>(n)->ticket();
  }

  /// Random numbers, the larger the nearer to the root.
  static std::uint64_t rank(const node* n) noexcept {
    std::uint64_t x = n->ticket_;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }

  static node** step_to(std::uint64_t ticket, node* from) noexcept {
    return ticket < ticket_of(from) ? &from->before_ : &from->behind_;
  }

  static void split(node* tree, std::uint64_t ticket, node*& before, node*& behind) noexcept {
    node** lower = &before;
    node** upper = &behind;
    while (tree != nullptr) {
      if (ticket_of(tree) < ticket) {
        *lower = tree;
        lower = &tree->behind_;
        tree = *lower;
      } else {
        *upper = tree;
        upper = &tree->before_;
        tree = *upper;
      }
    }
    *lower = *upper = nullptr;
  }

  /// All of `before` is before all of `behind`.
  static node* join(node* before, node* behind) noexcept {
    node* joined = nullptr;
    node** place = &joined;
    while (before != nullptr && behind != nullptr) {
      if (rank(before) > rank(behind)) {
        *place = before;
        place = &before->behind_;
        before = *place;
      } else {
        *place = behind;
        place = &behind->before_;
        behind = *place;
      }
    }
    *place = before != nullptr ? before : behind;
    return joined;
  }

  static wait_op_ptr<Op> take_at(node** place) noexcept {
    node* const taken = *place;
    *place = join(std::exchange(taken->before_, nullptr), std::exchange(taken->behind_, nullptr));
    return wait_op_ptr<Op>(static_cast<Op*>(taken));
  }

  template <class F>
  static void visit(node* tree, F& f) {
    if (tree == nullptr)
      return;
    visit(tree->before_, f);
    f(*static_cast<Op*>(tree));
    visit(tree->behind_, f);
  }

  node* root_ = nullptr;
};

/// A handler and its results, as what is posted, with the allocator for it.
template <class Handler, class Allocator, class... Results>
class completed_handler {
public:
  using allocator_type = Allocator;

  completed_handler(Handler&& handler, const Allocator& allocator, net::error_code ec,
                    Results... results)
      : handler_(std::move(handler)), allocator_(allocator), results_(ec, std::move(results)...) {}

  allocator_type get_allocator() const noexcept { return allocator_; }

  void operator()() { std::apply(std::move(handler_), std::move(results_)); }

private:
  Handler handler_;
  KESTREL_NO_UNIQUE_ADDRESS Allocator allocator_;
  std::tuple<net::error_code, Results...> results_;
};

/// An executor that counts as work outstanding.
template <class Executor>
auto tracked(const Executor& executor) {
  return net::prefer(executor, net::execution::outstanding_work.tracked);
}

/// An io_executor that does.
using io_work = decltype(tracked(std::declval<const io_executor&>()));

/// The same executor, whose copies, of which posting makes some, count as no work.
template <class Work>
auto untracked(const Work& work) {
  return net::prefer(work, net::execution::outstanding_work.untracked);
}

/// The executor of a handler, as work; `executor` if it has none of its own.
template <class Handler, class Executor>
auto work_of(const Handler& handler, const Executor& executor) {
  return tracked(net::get_associated_executor(handler, executor));
}

/// Memory for an operation, and in its place for what is posted when it ends.
template <class Op, class Handler, class Allocator, class... Results>
struct op_block
    : posting_block<
          completed_handler<
              Handler,
              block_allocator<void, op_block<Op, Handler, Allocator, Results...>, Allocator>,
              Results...>,
          Allocator, Op> {};

/// A handler with its memory and its executor, `Work`, whose work counts or need not. `Op` is the
/// class derived from this, `Base` is wait_op<Results...> or derived from it, and `Allocator` for
/// handlers without their own.
template <class Op, class Base, class Handler, class Work, class Allocator, class... Results>
class handler_op : public Base {
protected:
  using allocator_type = typename net::associated_allocator<Handler, Allocator>::type;

private:
  using block = op_block<Op, Handler, allocator_type, Results...>;
  using block_source = typename std::allocator_traits<allocator_type>::template rebind_alloc<block>;
  using in_block = block_allocator<void, block, allocator_type>;

public:
  static wait_op_ptr<Base> make(Handler&& handler, const Work& work, const Allocator& allocator) {
    block_source source(net::get_associated_allocator(handler, allocator));
    block* const memory = source.allocate(1);
    Op* op = nullptr;
    KESTREL_TRY { op = ::new (static_cast<void*>(memory)) Op(std::move(handler), work, allocator); }
    KESTREL_CATCH_ALL {
      source.deallocate(memory, 1);
      KESTREL_RETHROW;
    }
    return wait_op_ptr<Base>(op);
  }

  void complete(net::error_code ec, Results... results) noexcept override {
    const allocator_type source = allocator();
    const Work work(std::move(work_));
    Handler handler(std::move(handler_));
    block* const memory = end();
    const auto executor = untracked(work);
    if (const io_executor* const io = io_executor_of(executor)) {
      net::post(*io, completed_handler<Handler, in_block, Results...>(
                         std::move(handler), in_block(memory, source), ec, std::move(results)...));
    } else {
      block_source(source).deallocate(memory, 1);
      net::post(executor, completed_handler<Handler, allocator_type, Results...>(
                              std::move(handler), source, ec, std::move(results)...));
    }
  }

  void discard() noexcept override {
    const Handler handler(std::move(handler_)); // outlives the memory, which is its allocator's
    free(net::get_associated_allocator(handler, allocator_));
  }

protected:
  handler_op(Handler&& handler, const Work& work, const Allocator& allocator)
      : handler_(std::move(handler)), work_(work), allocator_(allocator) {}

  ~handler_op() = default;

  [[nodiscard]] allocator_type allocator() const noexcept {
    return net::get_associated_allocator(handler_, allocator_);
  }

  [[nodiscard]] const Work& work() const noexcept { return work_; }

  /// The handler and its executor. Ends this object, also if moving the handler throws.
  std::pair<Handler, Work> take() {
    struct ending {
      ~ending() { op.free(source); }
      handler_op& op;
      block_source source;
    } const at_return{*this, block_source(allocator())};
    return {std::move(handler_), std::move(work_)};
  }

private:
  void free(block_source source) noexcept { source.deallocate(end(), 1); }

  /// Ends this object, whose memory remains.
  block* end() noexcept {
    Op* const op = static_cast<Op*>(this);
    op->~Op();
    return reinterpret_cast<block*>(op);
  }

  Handler handler_;
  Work work_;
  Allocator allocator_;
};

template <class Base, class Handler, class Work, class... Results>
class wait_op_of final : public handler_op<wait_op_of<Base, Handler, Work, Results...>, Base,
                                           Handler, Work, std::allocator<void>, Results...> {
  friend typename wait_op_of::handler_op;
  using wait_op_of::handler_op::handler_op;
};

template <class Base, class Handler, class... Results>
wait_op_ptr<Base> make_wait_op(Handler&& handler, const net::any_io_executor& executor,
                               const wait_op<Results...>* /* a Base */) {
  const auto work = work_of(handler, executor);
  wait_op_ptr<Base> op = wait_op_of<Base, Handler, std::decay_t<decltype(work)>, Results...>::make(
      std::forward<Handler>(handler), work, std::allocator<void>());
  op->set_ticket(Base::next_ticket());
  return op;
}

/// `executor` is for handlers that have none of their own. A handler that is an lvalue is copied.
template <class Base, class Handler>
wait_op_ptr<Base> make_wait_op(Handler&& handler, const net::any_io_executor& executor) {
  std::decay_t<Handler> own(std::forward<Handler>(handler));
  return make_wait_op<Base>(std::move(own), executor, static_cast<const Base*>(nullptr));
}

/// Calls a handler, which has an immediate executor, inside the initiating function of its
/// operation: through that executor, and from there through its own if it has one. No work is
/// counted before, since a context without any other would stop at the end of it.
template <class Handler, class... Results>
void complete_at_once(Handler handler, net::error_code ec, Results... results) {
  using completed =
      completed_handler<Handler, typename net::associated_allocator<Handler>::type, Results...>;
  const auto allocator = net::get_associated_allocator(handler);
  const auto immediate = immediate_executor_of(handler);
  if constexpr (has_own_executor<Handler>) {
    const auto own = net::get_associated_executor(handler);
    net::dispatch(immediate, net::bind_executor(
                                 own, completed(std::move(handler), allocator, ec, results...)));
  } else {
    net::dispatch(immediate, completed(std::move(handler), allocator, ec, results...));
  }
}

/// If there is a slot, has `cancel` called by whatever is emitted there.
template <class Slot, class Cancel>
void on_cancellation(Slot slot, Cancel cancel) {
  if (slot.is_connected())
    slot.assign([cancel = std::move(cancel)](net::cancellation_type type) {
      if (type != net::cancellation_type::none)
        cancel();
    });
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_WAIT_OP_HPP
