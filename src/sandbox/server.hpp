// The helper process's main loop: programs come in over a socket, each of their runs gets a sandbox, reports go out.
// Laws:
//  * Small and single-threaded: it can fork at the cost of its own few pages, and nothing of the training rank (its
//    memory, its files, its MPI) is within reach of what it starts.
//  * At most `slots` sandboxes at once, first come first served; it sleeps in poll while there is nothing to do.
//  * The socket's end is the server's end, and the server's end is that of all its sandboxes.
//  * As root it first becomes nobody: the kernel exempts root from limits on processes.
#pragma once

namespace athanor {

/// @param socket  a connected stream socket. @param slots  at least 1. Returns when the other side has closed.
/// @throws Error when the server cannot work at all.
void serve(int socket, int slots);

}  // namespace athanor
