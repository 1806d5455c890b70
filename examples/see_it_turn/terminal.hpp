// SPDX-License-Identifier: MIT
//
// The terminal, taken over for pictures and given back as it was: by the destructor, which is also
// reached by way of Ctrl-C, since the program ends in good order then.

#ifndef KESTREL_EXAMPLES_SEE_IT_TURN_TERMINAL_HPP
#define KESTREL_EXAMPLES_SEE_IT_TURN_TERMINAL_HPP

#include "canvas.hpp"
#include "text.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace turn {

class terminal {
public:
  static bool is_there() { return isatty(STDOUT_FILENO) != 0; }

  explicit terminal(bool colours) : colours_{colours} {
    if (tcgetattr(keys_, &before_) == 0) { // keys come at once, and are not shown
      termios quiet = before_;
      quiet.c_lflag &= static_cast<tcflag_t>(~(ICANON | ECHO));
      quiet.c_cc[VSUSP] = _POSIX_VDISABLE; // nobody would give the terminal back
      tcsetattr(keys_, TCSANOW, &quiet);
    }
    send("\x1b[?1049h\x1b[?25l"); // the alternate screen, without a cursor
  }

  ~terminal() {
    send("\x1b[0m\x1b[?25h\x1b[?1049l");
    if (keys_ >= 0) {
      tcsetattr(keys_, TCSANOW, &before_);
      close(keys_);
    }
  }

  terminal(const terminal&) = delete;
  terminal& operator=(const terminal&) = delete;

  // A descriptor from which keys are read, one at a time; -1 if there is none. Not that of standard
  // input, which other programs have, too: Asio would make theirs non-blocking.
  int keys() const { return keys_; }

  void show(const canvas& picture) {
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
      size.ws_col = 80;
      size.ws_row = 24;
    }
    if (!shown_ || size.ws_col != columns_ || size.ws_row != rows_) {
      columns_ = size.ws_col;
      rows_ = size.ws_row;
      send("\x1b[0m\x1b[2J");
      shown_.emplace(picture.width(), picture.height());
      shown_->fill({U'\0', {}, {}}); // unlike anything
    }
    send(to_terminal(*shown_, picture, columns_, rows_, colours_));
    shown_ = picture;
  }

private:
  static void send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = write(STDOUT_FILENO, text.data(), text.size());
      if (n < 0 && errno != EINTR) {
        return; // the terminal is gone
      }
      text.remove_prefix(static_cast<std::size_t>(n < 0 ? 0 : n));
    }
  }

  bool colours_;
  int keys_ = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY);
  termios before_{};
  std::optional<canvas> shown_;
  std::size_t columns_ = 0;
  std::size_t rows_ = 0;
};

} // namespace turn

#endif // KESTREL_EXAMPLES_SEE_IT_TURN_TERMINAL_HPP
