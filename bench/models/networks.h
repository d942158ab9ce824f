#pragma once

#include "bench/models/network_builder.h"

// The networks themselves, one function each. Parameters are named and shaped as in the implementation named, so that its weights fit.
// None has dropout: its results would differ from run to run.
namespace athanor::models {

// Krizhevsky 2014 ("One weird trick"), as torchvision's alexnet: 61,100,840 parameters at 224 pixels. The first fully connected layer
// takes the last map as it is, so other sizes of images have another number of parameters.
Graph AlexNet(const Size& size);
// Simonyan and Zisserman 2015, configuration D, as torchvision's vgg16: 138,357,544 parameters at 224 pixels; see AlexNet.
Graph Vgg16(const Size& size);
// He et al. 2016 with the stride in the 3 x 3 convolution, as torchvision's resnet50: 25,557,032 parameters.
Graph ResNet50(const Size& size);
// The backbone of Wang et al. 2022, with the names of the authors' yolov7.yaml: outputs "c3", "c4", "c5", maps of 1/8, 1/16 and 1/32
// of the image. In training a linear classifier follows the mean of c5, as when backbones are trained on their own.
Graph Yolov7(const Size& size);
// Dosovitskiy et al. 2021, as torchvision's vit_b_16: 86,567,656 parameters at 224 pixels.
Graph VitB16(const Size& size);
// Devlin et al. 2019, as transformers' BertModel with pooler: 109,482,240 parameters. Inputs "input_ids", "token_type_ids"
// i64 [batch, length]; outputs "last_hidden_state", "pooler_output". In training two classes are predicted from the pooler, as
// BertForSequenceClassification does.
Graph BertBase(const Size& size);
// Radford et al. 2019, as transformers' GPT2LMHeadModel with tied embeddings: 124,439,808 parameters. Input "input_ids"
// i64 [batch, length]; logits [batch * length, vocabulary]; "y" are the next tokens.
Graph Gpt2(const Size& size);

}  // namespace athanor::models
