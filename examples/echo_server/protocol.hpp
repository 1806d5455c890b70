// SPDX-License-Identifier: MIT
//
// The wire format of the echo server: a frame is one byte of type, two bytes of payload length
// (little endian) and the payload. A frame may arrive in any number of pieces; `frame_reader` puts
// it together again. Knows nothing of sockets and timers.

#ifndef KESTREL_EXAMPLES_ECHO_SERVER_PROTOCOL_HPP
#define KESTREL_EXAMPLES_ECHO_SERVER_PROTOCOL_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace demo {

enum class frame_type : unsigned char {
  message = 'M',   // client to server: please echo this
  echo = 'E',      // server to client: the payload of a message
  heartbeat = 'H', // server to client: still here
  timeout = 'T',   // server to client: the rest of your message came too late, it is dropped
};

inline constexpr std::size_t frame_header_size = 3;
inline constexpr std::size_t max_payload_size = 256;

struct frame {
  frame_type type;
  std::string_view payload; // valid until the reader is fed again
};

inline void append_frame(std::string& out, frame_type type, std::string_view payload) {
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(payload.size() & 0xff));
  out.push_back(static_cast<char>(payload.size() >> 8));
  out.append(payload);
}

// Puts frames together from bytes as they come.
class frame_reader {
public:
  // Between two frames: the next byte begins a new one.
  bool at_start() const { return size_ == 0; }

  // The peer announced a payload that is too large; nothing more can be read.
  bool malformed() const { return malformed_; }

  // Takes bytes from the front of `input`, at most up to the end of one frame, and returns that
  // frame when it is complete.
  std::optional<frame> feed(std::string_view& input) {
    if (size_ < frame_header_size) {
      take(input, frame_header_size);
      if (size_ < frame_header_size) {
        return std::nullopt;
      }
    }
    const std::size_t payload = payload_size();
    if (payload > max_payload_size) {
      malformed_ = true;
      return std::nullopt;
    }
    take(input, frame_header_size + payload);
    if (size_ < frame_header_size + payload) {
      return std::nullopt;
    }
    size_ = 0;
    return frame{static_cast<frame_type>(buffer_[0]),
                 std::string_view{buffer_.data() + frame_header_size, payload}};
  }

private:
  void take(std::string_view& input, std::size_t wanted) {
    const std::size_t n = std::min(wanted - size_, input.size());
    std::copy_n(input.data(), n, buffer_.data() + size_);
    size_ += n;
    input.remove_prefix(n);
  }

  std::size_t payload_size() const {
    return static_cast<unsigned char>(buffer_[1]) |
           static_cast<std::size_t>(static_cast<unsigned char>(buffer_[2])) << 8;
  }

  std::array<char, frame_header_size + max_payload_size> buffer_;
  std::size_t size_ = 0;
  bool malformed_ = false;
};

} // namespace demo

#endif // KESTREL_EXAMPLES_ECHO_SERVER_PROTOCOL_HPP
