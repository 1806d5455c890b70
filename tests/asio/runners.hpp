// SPDX-License-Identifier: MIT
//
// Threads that run a context.

#ifndef KESTREL_TESTS_RUNNERS_HPP
#define KESTREL_TESTS_RUNNERS_HPP

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>

#include <thread>
#include <vector>

/// Threads that call run() until told that no more will come.
class runners {
public:
  runners(asio::io_context& io, int n) : work_{io.get_executor()} {
    for (int i = 0; i != n; ++i)
      threads_.emplace_back([&io] { io.run(); });
  }

  ~runners() { finish(); }

  void finish() {
    work_.reset();
    for (std::thread& t : threads_)
      t.join();
    threads_.clear();
  }

private:
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::vector<std::thread> threads_;
};

#endif // KESTREL_TESTS_RUNNERS_HPP
