// SPDX-License-Identifier: MIT
//
// async_wait, async_wait_after: the initiating functions of waits, for every completion token.

#ifndef KESTREL_DETAIL_ASYNC_WAIT_HPP
#define KESTREL_DETAIL_ASYNC_WAIT_HPP

#include <kestrel/completion.hpp>
#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/callback.hpp>
#include <kestrel/detail/exceptions.hpp>
#include <kestrel/detail/initiation.hpp>
#include <kestrel/detail/timer_host.hpp>
#include <kestrel/detail/wait_op.hpp>
#include <kestrel/detail/watch.hpp>
#include <kestrel/error.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// Begins to wait for the next notice of a timer. `of` is null if there is no such timer, `host`
/// for a handle that names none.
template <class Handler>
void begin_wait(const std::shared_ptr<timer_host>& host, Handler handler,
                const std::shared_ptr<watch>& of, std::shared_ptr<notice_cursor> cursor) {
  const notice none{errc::no_such_timer, {}};
  if constexpr (has_immediate_executor<Handler>) {
    if (const auto news = of != nullptr ? host->try_wait(*of, *cursor) : std::optional(none))
      return complete_at_once(std::move(handler), news->error, news->what);
  }
  const auto slot = net::get_associated_cancellation_slot(handler);
  notice_op_ptr op = make_wait_op<notice_op>(
      std::move(handler),
      host != nullptr ? host->any_executor() : net::any_io_executor(net::system_executor()));
  if (of == nullptr) {
    op.release()->complete(none.error, none.what);
    return;
  }
  op->cursor = std::move(cursor);
  on_cancellation(slot, [host = std::weak_ptr(host), of, ticket = op->ticket()] {
    if (const auto still_there = host.lock())
      still_there->abort_wait(*of, ticket);
  });
  if (notice_op_ptr told = host->wait(*of, std::move(op))) {
    notice_op* const ended = told.release();
    ended->complete(ended->told.error, ended->told.what);
  }
}

template <class CompletionToken>
auto async_wait(const std::shared_ptr<timer_host>& host, std::shared_ptr<watch> of,
                std::shared_ptr<notice_cursor> cursor, CompletionToken&& token) {
  return net::async_initiate<CompletionToken, void(net::error_code, completion)>(
      initiation(host,
                 [h = host](auto&& handler, const std::shared_ptr<watch>& w,
                            std::shared_ptr<notice_cursor> c) {
                   begin_wait<std::decay_t<decltype(handler)>>(
                       h, std::forward<decltype(handler)>(handler), w, std::move(c));
                 }),
      token, std::move(of), std::move(cursor));
}

/// The callable of a timer that only ends a wait. If the timer ends otherwise, the wait was
/// aborted.
class end_of_wait {
public:
  explicit end_of_wait(wait_op_ptr<wait_op<>> op) noexcept : op_(std::move(op)) {}

  end_of_wait(end_of_wait&&) noexcept = default;
  end_of_wait& operator=(end_of_wait&&) = delete;

  ~end_of_wait() {
    if (op_ != nullptr)
      op_.release()->complete(net::error::operation_aborted);
  }

  void operator()() { op_.release()->complete({}); }

private:
  wait_op_ptr<wait_op<>> op_;
};

/// Waits until `delay` nanoseconds from now.
template <class CompletionToken>
auto async_wait_after(const std::shared_ptr<timer_host>& host, std::int64_t delay,
                      CompletionToken&& token) {
  return net::async_initiate<CompletionToken, void(net::error_code)>(
      initiation(host,
                 [h = host](auto&& handler, std::int64_t ns) {
                   const auto slot = net::get_associated_cancellation_slot(handler);
                   auto op = make_wait_op<wait_op<>>(std::forward<decltype(handler)>(handler),
                                                     h->any_executor());
                   KESTREL_TRY {
                     timer_spec spec{callback(h->memory_of_callables(), end_of_wait(std::move(op))),
                                     ns, 0, missed_periods::skip};
                     slots_aside aside(*h, 1);
                     on_cancellation(slot, [host = std::weak_ptr(h), id = aside.ids()[0]] {
                       if (const auto still_there = host.lock())
                         still_there->cancel(id);
                     });
                     timer_spec* const specs[] = {&spec};
                     h->schedule(aside.ids(), specs, {});
                     aside.use();
                   }
                   KESTREL_CATCH_ALL { // NOLINT(bugprone-empty-catch)
                     // The wait was aborted where it was: the handler is told, which is better.
                   }
                 }),
      token, delay);
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_ASYNC_WAIT_HPP
