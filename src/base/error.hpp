// The errors of the house. Law: throw, never print and exit below main. A message says what was wanted, what was found,
// where it came from and what to do. jobs/athanor.cpp turns the type into the exit status (2 = the user's input can be
// mended, 1 = the run failed) and ends all ranks.
#pragma once

#include <stdexcept>
#include <string>

namespace athanor {

/// Base of every error this program throws on purpose. Exit status 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  virtual int exit_status() const noexcept { return 1; }
};

/// Bad option, impossible shape, unknown key, unusable input file: the user can mend it. Exit status 2.
class ConfigError : public Error {
 public:
  using Error::Error;
  int exit_status() const noexcept override { return 2; }
};

/// A file or its content cannot be used (truncated, wrong checksum, full disk). Exit status 1.
class DataError : public Error {
 public:
  using Error::Error;
};

/// Communication failed. Exit status 1.
class CommError : public Error {
 public:
  using Error::Error;
};

/// Ranks that had to agree did not; the message names the odd rank.
class CollectiveMismatch : public CommError {
 public:
  using CommError::CommError;
};

/// A loss, gradient or weight stopped being a number; the message names step, rank and layer.
class NonFiniteError : public Error {
 public:
  using Error::Error;
};

}  // namespace athanor
