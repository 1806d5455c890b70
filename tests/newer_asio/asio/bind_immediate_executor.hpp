// SPDX-License-Identifier: MIT
//
// For tests with an Asio that is too old to have it: bind_immediate_executor, for handlers and for
// completion tokens, as since Asio 1.28.

#ifndef KESTREL_TESTS_NEWER_ASIO_BIND_IMMEDIATE_EXECUTOR_HPP
#define KESTREL_TESTS_NEWER_ASIO_BIND_IMMEDIATE_EXECUTOR_HPP

#include <asio/associated_immediate_executor.hpp>
#include <asio/associator.hpp>
#include <asio/async_result.hpp>

#include <type_traits>
#include <utility>

namespace asio {

template <class T, class Executor>
class immediate_executor_binder {
public:
  using target_type = T;
  using immediate_executor_type = Executor;

  template <class U>
  immediate_executor_binder(const Executor& executor, U&& target)
      : executor_(executor), target_(std::forward<U>(target)) {}

  T& get() noexcept { return target_; }
  const T& get() const noexcept { return target_; }
  immediate_executor_type get_immediate_executor() const noexcept { return executor_; }

  template <class... Args>
  decltype(auto) operator()(Args&&... args) & {
    return target_(std::forward<Args>(args)...);
  }
  template <class... Args>
  decltype(auto) operator()(Args&&... args) && {
    return std::move(target_)(std::forward<Args>(args)...);
  }
  template <class... Args>
  decltype(auto) operator()(Args&&... args) const& {
    return target_(std::forward<Args>(args)...);
  }

private:
  Executor executor_;
  T target_;
};

template <class Executor, class T>
[[nodiscard]] immediate_executor_binder<std::decay_t<T>, Executor>
bind_immediate_executor(const Executor& executor, T&& t) {
  return {executor, std::forward<T>(t)};
}

template <class T, class Executor, class Signature>
struct async_result<immediate_executor_binder<T, Executor>, Signature> {
  template <class Initiation, class Token, class... Args>
  static decltype(auto) initiate(Initiation&& initiation, Token&& token, Args&&... args) {
    using target = std::remove_reference_t<decltype(token.get())>; // const, if the token is
    return async_initiate<target, Signature>(
        [executor = token.get_immediate_executor(),
         start = std::forward<Initiation>(initiation)](auto&& handler, auto&&... rest) mutable {
          using bound = immediate_executor_binder<std::decay_t<decltype(handler)>, Executor>;
          std::move(start)(bound(executor, std::forward<decltype(handler)>(handler)),
                           std::forward<decltype(rest)>(rest)...);
        },
        token.get(), std::forward<Args>(args)...);
  }
};

template <template <class, class> class Associator, class T, class Executor, class Candidate>
struct associator<Associator, immediate_executor_binder<T, Executor>, Candidate> {
  using type = typename Associator<T, Candidate>::type;

  static type get(const immediate_executor_binder<T, Executor>& b,
                  const Candidate& c = Candidate()) noexcept {
    return Associator<T, Candidate>::get(b.get(), c);
  }
};

template <class T, class Executor, class Candidate>
struct associated_immediate_executor<immediate_executor_binder<T, Executor>, Candidate> {
  using type = Executor;

  static type get(const immediate_executor_binder<T, Executor>& b, const Candidate&) noexcept {
    return b.get_immediate_executor();
  }
};

} // namespace asio

#endif // KESTREL_TESTS_NEWER_ASIO_BIND_IMMEDIATE_EXECUTOR_HPP
