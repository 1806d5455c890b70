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
#include <new>
#include <optional>
#include <system_error>
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

/// A wait for a time.
class time_wait : public wait_op<> {
public:
  net::error_code otherwise = net::error::operation_aborted; // if the time does not come

protected:
  ~time_wait() = default;
};

/// The callable of a timer that only ends a wait.
class end_of_wait {
public:
  using kestrel_relocatable = void; // a pointer
  using kestrel_end_of_wait = void;

  explicit end_of_wait(wait_op_ptr<time_wait> op) noexcept : op_(std::move(op)) {}

  end_of_wait(end_of_wait&&) noexcept = default;
  end_of_wait& operator=(end_of_wait&&) = delete;

  ~end_of_wait() {
    if (op_ != nullptr)
      end(op_->otherwise);
  }

  void operator()() { end({}); }

private:
  void end(net::error_code ec) noexcept { op_.release()->complete(ec); }

  wait_op_ptr<time_wait> op_;
};

/// What a handler is told instead of the exception that is being handled.
inline net::error_code current_error() noexcept {
#if defined(__cpp_exceptions)
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return std::make_error_code(std::errc::not_enough_memory);
  } catch (const std::system_error& e) {
    return e.code();
  } catch (...) { // NOLINT(bugprone-empty-catch)
  }
#endif
  return net::error::operation_aborted;
}

/// Waits until `delay` nanoseconds from now. What goes wrong once the handler was taken, it is
/// told.
template <class CompletionToken>
auto async_wait_after(const std::shared_ptr<timer_host>& host, std::int64_t delay,
                      CompletionToken&& token) {
  return net::async_initiate<CompletionToken, void(net::error_code)>(
      initiation(host,
                 [h = host](auto&& handler, std::int64_t ns) {
                   const auto slot = net::get_associated_cancellation_slot(handler);
                   auto op = make_wait_op<time_wait>(std::forward<decltype(handler)>(handler),
                                                     h->any_executor());
                   time_wait& wait = *op;
                   timer_spec spec{callback(h->memory_of_callables(), end_of_wait(std::move(op))),
                                   ns, 0, missed_periods::skip};
                   KESTREL_TRY {
                     slots_aside aside(*h, 1);
                     on_cancellation(slot, [host = std::weak_ptr(h), id = aside.ids()[0]] {
                       if (const auto still_there = host.lock())
                         still_there->cancel(id);
                     });
                     timer_spec* const specs[] = {&spec};
                     h->schedule(aside.ids(), specs, {});
                     aside.use();
                   }
                   KESTREL_CATCH_ALL {
                     wait.otherwise = current_error(); // `spec` still has it
                   }
                 }),
      token, delay);
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_ASYNC_WAIT_HPP
