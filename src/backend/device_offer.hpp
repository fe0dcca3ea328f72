// How a program adds devices to those of athanor_src. Law: back ends that need more than the CPU are libraries of their
// own that link athanor_src, not the other way round; so the program that links one offers its devices, before anything
// asks for available_devices().
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "src/backend/backend.hpp"

namespace athanor {

/// From now on available_devices() names `name` and make_backend(name) calls `make`.
void offer_device(const std::string& name, std::function<std::unique_ptr<Backend>()> make);

}  // namespace athanor
