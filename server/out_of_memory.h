// The end of a server whose memory has run out.
//
// Called by main, once. Thread rule: before threads that allocate much are started.
#pragma once

namespace precis {

// From now on an allocation by `new` that fails, in whatever thread, ends the process with one line
// and exit code 1: an exception would end it as well, with a dump of its memory. What is thrown
// while a model is loaded is told by LoadModel(), which knows more.
void EndWhereMemoryEnds();

}  // namespace precis
