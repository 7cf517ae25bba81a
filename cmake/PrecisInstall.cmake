# What `cmake --install` lays down: two programs, the demo model, and the documents with the links
# between them intact.
include(GNUInstallDirs)
install(TARGETS precis-server precis RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY models/demo DESTINATION ${CMAKE_INSTALL_DATADIR}/precis/models)
install(FILES LICENSE README.md CHANGELOG.md CONTRIBUTING.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES models/sample.txt DESTINATION ${CMAKE_INSTALL_DOCDIR}/models)
