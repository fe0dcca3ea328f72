// What a program calls once, before it asks for devices, to have the machine's GPUs among them.
#pragma once

namespace athanor::cuda {

/// Offers "cuda:N" for every GPU of this machine; none is no error.
void offer_devices();

}  // namespace athanor::cuda
