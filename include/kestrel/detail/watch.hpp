// SPDX-License-Identifier: MIT
//
// watch: the notices of one timer, and who waits for them. A firing is counted, not stored, so that
// none is lost however slow a reader is.

#ifndef KESTREL_DETAIL_WATCH_HPP
#define KESTREL_DETAIL_WATCH_HPP

#include <kestrel/completion.hpp>
#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/wait_op.hpp>
#include <kestrel/error.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// How far one reader has been told.
struct notice_cursor {
  static constexpr std::uint64_t from_now_on = (std::numeric_limits<std::uint64_t>::max)();

  std::uint64_t seen = 0; // firings; or from_now_on until the first wait
  bool told_of_cancellation = false;
};

/// What a reader is told. With an error, `what` says nothing.
struct notice {
  net::error_code error;
  completion what;
};

/// A wait and, once there is one, the notice that ends it.
struct notice_op : wait_op<completion> {
  std::shared_ptr<notice_cursor> cursor;
  notice told;
};

using notice_op_ptr = wait_op_ptr<notice_op>;

/// Is told everything, as it happens, for as long as the timer lives. Never under a lock.
class notice_listener {
public:
  /// For the `last` time: then the timer is gone, too.
  virtual void on_fired(bool last) noexcept = 0;

  /// The timer was cancelled, or went with its wheel.
  virtual void on_gone() noexcept = 0;

protected:
  ~notice_listener() = default;
};

/// Who is to be told what. They are, when this is destroyed, which should be outside every lock.
class news {
public:
  news() = default;

  explicit news(wait_op_list<notice_op>&& ended) noexcept : ended_(std::move(ended)) {}

  explicit news(notice_op_ptr ended) noexcept {
    if (ended != nullptr)
      ended_.push(std::move(ended));
  }

  news(news&&) noexcept = default;
  news& operator=(news&&) = delete;

  [[nodiscard]] bool empty() const noexcept { return ended_.empty() && listener_ == nullptr; }

  void add(news&& other) noexcept {
    ended_.append(std::move(other.ended_));
    if (other.listener_ != nullptr)
      listener_ = std::move(other.listener_);
    fired_ |= other.fired_;
    gone_ |= other.gone_;
  }

  void tell_listener(std::shared_ptr<notice_listener> listener, bool fired, bool gone) noexcept {
    listener_ = std::move(listener);
    fired_ = fired;
    gone_ = gone;
  }

  ~news() {
    while (!ended_.empty())
      tell(ended_.pop());
    if (listener_ != nullptr)
      tell_listener();
  }

private:
  static void tell(notice_op_ptr op) noexcept {
    notice_op* const ended = op.release();
    ended->complete(ended->told.error, ended->told.what);
  }

  void tell_listener() noexcept {
    if (fired_)
      listener_->on_fired(gone_);
    else if (gone_)
      listener_->on_gone();
  }

  wait_op_list<notice_op> ended_;
  std::shared_ptr<notice_listener> listener_;
  bool fired_ = false;
  bool gone_ = false;
};

/// All of it under the lock of the timer's wheel.
class watch {
  enum class fate : unsigned char { pending, fired, cancelled, aborted };

public:
  explicit watch(std::shared_ptr<notice_listener> listener = nullptr) noexcept
      : listener_(std::move(listener)) {}

  /// Gives the wait back with what its reader has not been told yet, or keeps it until there is
  /// something.
  notice_op_ptr wait(notice_op_ptr op) noexcept {
    if (const std::optional<notice> news = try_wait(*op->cursor))
      op->told = *news;
    else
      waiting_.push(std::move(op));
    return op;
  }

  /// What this reader has not been told yet.
  std::optional<notice> try_wait(notice_cursor& reader) const noexcept {
    if (reader.seen == notice_cursor::from_now_on)
      reader.seen = fired_;
    if (reader.seen != fired_)
      return told({completion::fired, fired_ - std::exchange(reader.seen, fired_)});
    if (fate_ == fate::pending || firing_ != 0)
      return std::nullopt;
    if (fate_ == fate::cancelled && !std::exchange(reader.told_of_cancellation, true))
      return told(completion::cancelled);
    if (fate_ == fate::aborted)
      return notice{net::error::operation_aborted, {}};
    return notice{errc::no_such_timer, {}};
  }

  /// The wait with this ticket, if it is not over, ends as aborted.
  news abort(std::uint64_t ticket) noexcept {
    notice_op_ptr op = waiting_.take(ticket);
    if (op != nullptr)
      op->told.error = net::error::operation_aborted;
    return news(std::move(op));
  }

  /// The callback begins to run. Until it has, what else happens to the timer is not told.
  void begin_firing() noexcept { ++firing_; }

  /// The callback has run.
  news end_firing(bool last) noexcept {
    --firing_;
    ++fired_;
    if (last && fate_ == fate::pending)
      fate_ = fate::fired;
    return tell(true, [this](notice_op& op) {
      op.cursor->seen = fired_;
      op.told.what = completion::fired;
    });
  }

  news cancel() noexcept {
    fate_ = fate::cancelled;
    if (firing_ != 0)
      return {};
    return tell(false, [](notice_op& op) {
      op.cursor->told_of_cancellation = true;
      op.told.what = completion::cancelled;
    });
  }

  /// The wheel ends, or the context of those who wait.
  news abort() noexcept {
    if (fate_ == fate::pending)
      fate_ = fate::aborted;
    return tell(false, [](notice_op& op) { op.told.error = net::error::operation_aborted; });
  }

  /// That of those who wait by the timer's id.
  [[nodiscard]] notice_cursor& cursor_by_id() noexcept { return by_id_; }

private:
  static notice told(completion what) noexcept { return {{}, what}; }

  // Those who wait had been told all there was.
  template <class Tell>
  news tell(bool fired, Tell&& what) noexcept {
    waiting_.for_each(what);
    news n(std::move(waiting_));
    if (listener_ != nullptr)
      n.tell_listener(listener_, fired, fate_ != fate::pending);
    return n;
  }

  std::uint64_t fired_ = 0;
  fate fate_ = fate::pending;
  unsigned firing_ = 0; // 2 for a moment, if the next firing is on another thread
  notice_cursor by_id_{notice_cursor::from_now_on};
  wait_op_list<notice_op> waiting_;
  std::shared_ptr<notice_listener> listener_; // or null
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_WATCH_HPP
