// The fixtures of tests/golden that tests run through the engine, whatever the backend.
//
// Thread rule: constants.
#pragma once

namespace precis {

// Fixtures whose query heads are assigned by norms of keys, and the one with noise.
inline constexpr const char* kBySequence[] = {"kdgqa_g2", "kdgqa_g4", "dgqa_diff_g2", "dgqa_ema_g2",
                                              "pgqa_g2"};

// Fixtures whose head map is fixed, and the wider heads and longer sources of tests/golden/more.
inline constexpr const char* kStatic[] = {"t5_v10_relu_tied",
                                          "t5_v11_gated_untied",
                                          "odd_shapes",
                                          "gqa_g2",
                                          "gqa_g2_from_mha",
                                          "mqa",
                                          "wgqa_g2",
                                          "wmqa",
                                          "colwgqa_g2",
                                          "rowwgqa_g2",
                                          "rand_wgqa_g4",
                                          "simgqa_g2",
                                          "qcqa",
                                          "loud",
                                          "sharded",
                                          "bf16_weights",
                                          "fp16_weights",
                                          "more/d64_mha",
                                          "more/d64_gqa_g2",
                                          "more/d128_mha",
                                          "more/d128_wgqa_g2",
                                          "more/constrained_mha",
                                          "more/constrained_gqa_g2",
                                          "more/outlier_channels"};

// What differs between families of models and in their files: ids, scaling, embeddings, a position
// bias in every layer, bytes for tokens, weights in pytorch_model.bin of both formats.
inline constexpr const char* kFamilies[] = {
    "families/mt5_several_ends", "families/untied_embeddings", "families/umt5", "families/byt5",
    "families/t5_bin_zip",       "families/t5_bin_legacy"};

// BART and DistilBART, and BART with grouped decoder heads and biases everywhere.
inline constexpr const char* kBart[] = {"families/bart_cnn",        "families/distilbart",
                                        "families/bart_gqa_g2",     "families/bart_wgqa_g2",
                                        "families/bart_colwgqa_g2", "families/bart_rowwgqa_g2"};

}  // namespace precis
