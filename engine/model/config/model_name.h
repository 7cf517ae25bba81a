// The name that a checkpoint is served under where the operator gives none.
//
// Called while loading. Thread rule: functions, no state.
#pragma once

#include <string>

namespace precis {

// What a name is made from.
struct NameSources {
  std::string path;          // of the directory, absolute, without symbolic links
  bool is_mount = false;     // something is mounted there: its last part is the volume's place
  std::string name_or_path;  // config.json's _name_or_path: where its weights came from; or empty
  std::string model_type;    // of config.json
};

// The first of these that says which model it is: the model of a folder of the hub's cache
// (models--org--NAME/snapshots/HASH), the directory's name (of one named checkpoint-500, or by a
// number alone, its parent's), the last part of name_or_path; else model_type. Names such as
// "model", "output" or a hash say nothing, nor does the place of a mounted volume.
std::string NameFrom(const NameSources& sources);

// The sources of a directory whose config.json can be read. `mountinfo`: /proc/self/mountinfo, or a
// test's.
NameSources ReadNameSources(const std::string& model_dir,
                            const std::string& mountinfo = "/proc/self/mountinfo");

}  // namespace precis
